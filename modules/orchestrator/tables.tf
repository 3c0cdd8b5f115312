# Records of releases, their items, the lock, and what the module tells the functions (pk CONFIG).
resource "aws_dynamodb_table" "releases" {
  name         = "${var.name}-releases"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"
  tags         = var.tags

  # What the guard in the root module can't see is refused as well: the console, a module block that was deleted, another tool. Switched in place.
  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithTables.Basics.html#WorkingWithTables.Basics.DeletionProtection
  deletion_protection_enabled = !var.force_destroy

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

# Powertools Idempotency: an optimisation, emptied without harm.
resource "aws_dynamodb_table" "idempotency" {
  name         = "${var.name}-idempotency"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"
  tags         = var.tags

  attribute {
    name = "id"
    type = "S"
  }

  ttl {
    attribute_name = "expiration"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

# Accounts and Regions a manifest may name; Parse reads it. In the table and not in an environment variable, whose 4 KiB end soon.
resource "aws_dynamodb_table_item" "targets" {
  table_name = aws_dynamodb_table.releases.name
  hash_key   = aws_dynamodb_table.releases.hash_key
  range_key  = aws_dynamodb_table.releases.range_key

  item = jsonencode({
    pk      = { S = "CONFIG" }
    sk      = { S = "TARGETS" }
    targets = { S = jsonencode(var.targets) }
  })
}
