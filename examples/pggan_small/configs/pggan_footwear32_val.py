"""Test a PGGAN on Fashion-MNIST's footwear (32). `batch_size` is meant per process."""

runner_type = "PGGANRunner"
batch_size = 16
seed = 0

_model = dict(gan_type="pggan", resolution=32, fmaps_base=1024, fmaps_max=64)

modules = dict(
    discriminator=dict(model=_model),
    generator=dict(model=dict(_model, z_space_dim=64), kwargs_val=dict()),
)
