package testredis

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// Commands returns the calls of each command since the start or
// [Server.ResetStats], by upper-case name ("CONFIG|GET" for one of two words), from
// INFO commandstats. Calls that scripts make are in it, next to the EVALSHA that
// made them, and so are those of this package's own connection: an INFO for each
// call, CONFIG|RESETSTAT, and the HELLO of a connection that is new.
func (s *Server) Commands(tb testing.TB) map[string]int64 {
	tb.Helper()
	info, err := s.client().InfoMap(tb.Context(), "commandstats").Result()
	if err != nil {
		tb.Fatalf("testredis: commandstats: %v", err)
	}
	calls := make(map[string]int64)
	for key, value := range info["Commandstats"] {
		name := strings.ToUpper(strings.TrimPrefix(key, "cmdstat_"))
		n, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
		if calls[name], err = strconv.ParseInt(n, 10, 64); err != nil {
			tb.Fatalf("testredis: commandstats of %s: %v", name, err)
		}
	}
	return calls
}

// ResetStats sets the counters behind [Server.Commands] to zero. It does not touch
// a [CommandCount].
func (s *Server) ResetStats(tb testing.TB) {
	tb.Helper()
	if err := s.client().ConfigResetStat(tb.Context()).Err(); err != nil {
		tb.Fatalf("testredis: reset the statistics: %v", err)
	}
}

// Written is how many bytes the server's process has written, to clients, to other
// servers and to files. Linux only.
func (s *Server) Written(tb testing.TB) int64 {
	tb.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.process().pid()) + "/io")
	if err != nil {
		tb.Fatalf("testredis: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	digits, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		tb.Fatalf("testredis: %v", err)
	}
	return n
}
