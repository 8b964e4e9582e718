"""One small file a vendor. `registry` makes providers from settings, `provider` says what each can do."""
