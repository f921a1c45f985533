environment            = "dev"
region                 = "eu-central-1"
output_days            = 30
checkpoint_days        = 7
undo_days              = 1
delete_data_on_destroy = true
instance_types         = ["ml.m5.*", "ml.g4dn.xlarge", "ml.g5.xlarge"]
