package auth_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// swapDescriptors lets every descriptor of a file lead elsewhere, as a full disk does: the kernel itself refuses the
// writes, while what is mapped stays readable. cure puts them back.
func swapDescriptors(t testing.TB, path, elsewhere string) (cure func()) {
	t.Helper()
	bad, err := syscall.Open(elsewhere, syscall.O_WRONLY, 0)
	must(t, err)
	defer syscall.Close(bad)
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var open []int // collected first: a copy may get the number of one that is still to be looked at
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if fd, err := strconv.Atoi(e.Name()); err == nil && target == path {
			open = append(open, fd)
		}
	}
	saved := map[int]int{}
	for _, fd := range open {
		saved[fd], err = syscall.Dup(fd)
		must(t, err)
		must(t, syscall.Dup3(bad, fd, syscall.O_CLOEXEC))
	}
	if len(saved) == 0 {
		t.Fatal("the file is not open")
	}
	return func() {
		for fd, was := range saved {
			must(t, syscall.Dup3(was, fd, syscall.O_CLOEXEC))
			must(t, syscall.Close(was))
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
