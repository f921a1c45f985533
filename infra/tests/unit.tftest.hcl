# What a plan says without AWS: terraform test -var-file=environments/dev.tfvars
# What the policies really allow is tested on a stack that is applied: tests/test_infra.py.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

run "a_place_to_try_things" {
  command = plan

  assert {
    condition     = output.GAMMA_AWS_BUCKET == "gamma-dev-111122223333-eu-central-1"
    error_message = "The bucket's name is project, environment, account and region."
  }
  assert {
    condition     = length(aws_kms_key.bucket) == 0
    error_message = "A key costs money: only who asks for one gets it."
  }
  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.training.rule : length(rule.expiration) == 1])
    error_message = "What was only tried is deleted after some time."
  }
  assert {
    condition     = contains(data.aws_iam_policy_document.bot.statement[*].sid, "OnlyTheseInstances")
    error_message = "Nobody tries things on the most expensive machines."
  }
  assert {
    condition = length(setintersection(
      concat(data.aws_iam_policy_document.training.statement[*].sid, data.aws_iam_policy_document.bot.statement[*].sid),
      ["ReadInputs", "UseKeys", "EncryptDisks", "ReadSecrets", "JoinTheNetwork", "UseKeysInS3", "ReadQuotas"],
    )) == 0
    error_message = "Inputs, keys, secrets, network and quotas are allowed only where they were named."
  }
}

run "mistakes_are_refused" {
  command = plan

  variables {
    project                  = "Gamma_Bot"
    environment              = "our production"
    region                   = "Frankfurt"
    source_days              = 7
    output_days              = -1
    checkpoint_days          = 0.5
    undo_days                = 0
    input_locations          = ["s3://my-data/*"]
    key_arns                 = ["arn:aws:kms:eu-central-1:111122223333:alias/mine"]
    secret_arns              = ["arn:aws:secretsmanager:eu-central-1:111122223333:secret:*"]
    image_repository_arns    = ["111122223333.dkr.ecr.eu-central-1.amazonaws.com/train"]
    framework_image_accounts = ["aws"]
    subnet_ids               = ["subnet-0123456789abcdef0"]
    security_group_ids       = ["default"]
    instance_types           = ["g5.xlarge"]
  }

  expect_failures = [
    var.project, var.environment, var.region, var.source_days, var.output_days, var.checkpoint_days, var.undo_days,
    var.input_locations, var.key_arns, var.secret_arns, var.image_repository_arns, var.framework_image_accounts,
    var.security_group_ids, var.instance_types,
  ]
}

run "a_network_needs_subnets_and_security_groups" {
  command = plan

  variables {
    subnet_ids = ["subnet-0123456789abcdef0"]
  }

  expect_failures = [var.subnet_ids]
}
