"""One embedded AWS for the whole run."""

from local_aws.testing import aws, aws_server, eventually  # noqa: F401 - fixtures
