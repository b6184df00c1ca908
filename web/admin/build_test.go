package admin_test

import (
	"runtime"
	"runtime/debug"
	"testing"

	"hostedmcp/web/admin"
)

// What a binary says of itself, by what its build was told.
func TestBuild(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.time", Value: "2026-11-23T15:00:00Z"}, {Key: "vcs.modified", Value: "false"}}
	dirty := []debug.BuildSetting{vcs[0], {Key: "vcs.modified", Value: "true"}}
	machine := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for _, tt := range []struct {
		name, release, main string
		settings            []debug.BuildSetting
		version, text       string
	}{
		{"nothing", "", "(devel)", nil, "devel", "hostedmcp devel\n"},
		{"a release, outside of git", "1.2.0", "(devel)", nil, "1.2.0", "hostedmcp 1.2.0\n"},
		{"a release", "1.2.0", "v0.0.0-x", vcs, "1.2.0", "hostedmcp 1.2.0\ncommit 0123abcd of 2026-11-23T15:00:00Z\n"},
		{"a commit, as go stamps it", "", "v0.0.0-x", vcs, "v0.0.0-x", "hostedmcp v0.0.0-x\ncommit 0123abcd of 2026-11-23T15:00:00Z\n"},
		{"a commit and more", "", "(devel)", dirty, "0123abcd", "hostedmcp 0123abcd\ncommit 0123abcd, with changes that are not in it\n"},
	} {
		b := admin.BuildOf(tt.release, &debug.BuildInfo{Main: debug.Module{Version: tt.main}, Settings: tt.settings})
		if b.Version != tt.version || b.String() != tt.text+machine {
			t.Errorf("%s: %q\n%s", tt.name, b.Version, b)
		}
	}
	if b := admin.BuildOf("", nil); b.Version != "devel" {
		t.Errorf("without anything: %+v", b)
	}
}
