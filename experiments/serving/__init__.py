"""A trained run behind a small web page: uploads, batches, replies, guards."""
