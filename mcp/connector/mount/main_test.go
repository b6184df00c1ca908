package mount_test

import (
	"context"
	"os"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"
)

// TestMain is also the program of every child: with an argument of ours the test binary is a mounted server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if child := children[os.Args[1]]; child != nil {
			child(os.Args[2:])
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}

// children are the programs that the test binary can be, by their first argument.
var children = map[string]func(args []string){
	"serve-legacy": func([]string) { serveStdio(everything("legacy")) },
	"serve-modern": func([]string) { serveStdio(everything("modern")) },
	"serve-both":   func([]string) { serveStdio(demanding()) },
	"drowsy":       drowsyChild,
	"late":         lateChild,
	"quick":        quickChild,
	"raw":          rawChild,
	"parent":       parentChild,
}

func serveStdio(s *sdk.Server) {
	if err := s.Run(context.Background(), &sdk.StdioTransport{}); err != nil {
		os.Exit(1)
	}
}
