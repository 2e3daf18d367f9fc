"""What tests share: fakes at the ports, stored runs, a running function."""
