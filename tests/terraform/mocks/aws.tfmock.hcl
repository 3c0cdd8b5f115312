# What AWS would answer, known at plan time, so that rendered definitions and policies can be asserted.

mock_data "aws_caller_identity" {
  defaults = { account_id = "111111111111" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
}

mock_data "aws_region" {
  defaults = { id = "us-east-1" }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = { arn = "arn:aws:events:us-east-1:111111111111:rule/mock" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:111111111111:log-group:mock" }
}

mock_resource "aws_codebuild_project" {
  defaults = { arn = "arn:aws:codebuild:us-east-1:111111111111:project/mock" }
}

mock_resource "aws_codecommit_repository" {
  defaults = { arn = "arn:aws:codecommit:us-east-1:111111111111:mock" }
}

mock_resource "aws_codeconnections_connection" {
  defaults = {
    arn               = "arn:aws:codeconnections:us-east-1:111111111111:connection/12345678-1234-1234-1234-123456789012"
    connection_status = "PENDING"
  }
}

mock_resource "aws_codepipeline" {
  defaults = { arn = "arn:aws:codepipeline:us-east-1:111111111111:mock" }
}

mock_resource "aws_dynamodb_table" {
  defaults = { arn = "arn:aws:dynamodb:us-east-1:111111111111:table/mock" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::111111111111:role/mock" }
}

mock_resource "aws_kms_key" {
  defaults = {
    arn    = "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012"
    key_id = "12345678-1234-1234-1234-123456789012"
  }
}

mock_resource "aws_lambda_function" {
  defaults = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:mock"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:mock:7"
    version       = "7"
  }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mock" }
}

mock_resource "aws_sfn_state_machine" {
  defaults = { arn = "arn:aws:states:us-east-1:111111111111:stateMachine:mock" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:us-east-1:111111111111:mock" }
}
