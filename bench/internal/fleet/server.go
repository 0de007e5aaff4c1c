// Package fleet starts what a run of the bench needs: a Redis server of its own and
// the processes that work against it, and counts what the server did.
package fleet

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// Server is a private Redis server.
type Server struct {
	Addr string
	rdb  *redis.Client
	home *home
}

// StartServer starts one on a free port, without persistence. Close ends it; it also
// ends with this process.
func StartServer(ctx context.Context) (s *Server, err error) {
	h := &home{ctx: ctx}
	defer func() {
		if r := recover(); r != nil { // Fatalf of home
			h.close()
			s, err = nil, fmt.Errorf("%v", r)
		}
	}()
	server := testredis.Start(h, "--maxclients", "5000") //nolint:contextcheck // h has it
	return &Server{Addr: server.Addr(), rdb: server.Client(h), home: h}, nil
}

// Close ends the server.
func (s *Server) Close() { s.home.close() }

// Empty removes every key and every script.
func (s *Server) Empty(ctx context.Context) error {
	if err := s.rdb.FlushAll(ctx).Err(); err != nil {
		return err
	}
	return s.rdb.ScriptFlush(ctx).Err()
}

// Info returns one value of INFO.
func (s *Server) Info(ctx context.Context, section, name string) (string, error) {
	info, err := s.rdb.InfoMap(ctx, section).Result()
	if err != nil {
		return "", err
	}
	for _, values := range info {
		if v, ok := values[name]; ok {
			return v, nil
		}
	}
	return "", fmt.Errorf("INFO %s has no %s", section, name)
}

// Counters is what the server has done since it started.
type Counters struct {
	Calls map[string]int64 // by command, those inside scripts too
	Micro map[string]int64 // microseconds that they took; a script's include its calls
	CPU   float64          // seconds of the process
}

// Counters reads them. The INFO for it is not counted.
func (s *Server) Counters(ctx context.Context) (Counters, error) {
	c := Counters{Calls: map[string]int64{}, Micro: map[string]int64{}}
	info, err := s.rdb.InfoMap(ctx, "commandstats", "cpu").Result()
	if err != nil {
		return c, err
	}
	for key, value := range info["Commandstats"] {
		name := strings.TrimPrefix(key, "cmdstat_")
		if name == "info" {
			continue
		}
		for field := range strings.SplitSeq(value, ",") {
			what, number, _ := strings.Cut(field, "=")
			switch what {
			case "calls":
				c.Calls[name], err = strconv.ParseInt(number, 10, 64)
			case "usec":
				c.Micro[name], err = strconv.ParseInt(number, 10, 64)
			}
			if err != nil {
				return c, err
			}
		}
	}
	for _, name := range []string{"used_cpu_sys", "used_cpu_user"} {
		seconds, err := strconv.ParseFloat(info["CPU"][name], 64)
		if err != nil {
			return c, err
		}
		c.CPU += seconds
	}
	return c, nil
}

// Since returns what was done from before to c.
func (c Counters) Since(before Counters) Counters {
	d := Counters{Calls: map[string]int64{}, Micro: map[string]int64{}, CPU: c.CPU - before.CPU}
	for name, n := range c.Calls {
		d.Calls[name] = n - before.Calls[name]
		d.Micro[name] = c.Micro[name] - before.Micro[name]
	}
	return d
}

// Total is the number of all calls.
func (c Counters) Total() int64 {
	var total int64
	for _, n := range c.Calls {
		total += n
	}
	return total
}

// Scripts are the microseconds that scripts took, with the calls inside.
func (c Counters) Scripts() int64 { return c.Micro["evalsha"] + c.Micro["eval"] }

// home stands in for the test whose server testredis starts.
type home struct {
	testing.TB // nothing but what is written out here is called

	ctx      context.Context //nolint:containedctx // testing.TB has one
	cleanups []func()
}

func (*home) Helper()                    {}
func (*home) Failed() bool               { return false }
func (h *home) Context() context.Context { return h.ctx }
func (h *home) Cleanup(f func())         { h.cleanups = append(h.cleanups, f) }

func (*home) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*home) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (h *home) Logf(format string, args ...any) { h.Errorf(format, args...) }

func (h *home) TempDir() string {
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		panic(err)
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (h *home) close() {
	for len(h.cleanups) > 0 {
		last := len(h.cleanups) - 1
		f := h.cleanups[last]
		h.cleanups = h.cleanups[:last]
		f()
	}
}
