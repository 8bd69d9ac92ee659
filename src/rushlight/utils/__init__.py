"""`torch.utils`: data sets and loaders."""
