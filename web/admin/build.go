package admin

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Build says which binary this is: what a report of a fault must name.
type Build struct {
	Version  string // the release, else what Go made of the commit, else the commit, else "devel"
	Revision string // commit in full; "" = the build was not told
	Time     string // of the commit, RFC 3339; "" = not told
	Modified bool   // with changes that are not in the commit
}

// BuildOf reads what the go command wrote into the binary (debug.ReadBuildInfo; nil = nothing). release is what the
// builder called it (-ldflags -X), "" = nothing.
func BuildOf(release string, info *debug.BuildInfo) Build {
	b := Build{}
	stamped := ""
	if info != nil {
		// "(devel)" stands for: built from a folder that nobody asked about its commit (-buildvcs=false, no git)
		if stamped = info.Main.Version; stamped == "(devel)" {
			stamped = ""
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	b.Version = cmp.Or(release, stamped, b.Revision, "devel")
	return b
}

// String is what the command version prints: a line for the version, one for the commit if it is known, one for Go.
func (b Build) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "hostedmcp %s\n", b.Version)
	if b.Revision != "" {
		out.WriteString("commit " + b.Revision)
		if b.Time != "" {
			out.WriteString(" of " + b.Time)
		}
		if b.Modified {
			out.WriteString(", with changes that are not in it")
		}
		out.WriteByte('\n')
	}
	fmt.Fprintf(&out, "%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return out.String()
}
