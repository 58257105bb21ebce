"""AWS on this host: moto's EC2, S3 and STS, with machines that are real and what moto lacks."""

from rehearsal.aws.frontend import Aws

FRONT_END = Aws
