package mount_test

func rawChild(args []string)    {}
func parentChild(args []string) {}
