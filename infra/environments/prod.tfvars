environment          = "prod"
region               = "eu-central-1"
customer_managed_key = true
read_quotas          = true
