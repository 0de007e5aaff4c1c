package library_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// local are the libraries that run in this process.
func local() []library.Library {
	var all []library.Library
	for _, l := range library.All() {
		if !l.Remote() {
			all = append(all, l)
		}
	}
	return all
}

// open makes one client of n.
func open(t *testing.T, l library.Library, addr string, process, n int) library.Locker {
	t.Helper()
	locker, err := l.Open(t.Context(), library.Config{Addr: addr, Process: process, Processes: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := locker.Close(); err != nil {
			t.Error(err)
		}
	})
	return locker
}

// Two clients with three goroutines each: never two holders, and all of them come to
// an end, but where waiters are known to be left asleep.
func TestExcludes(t *testing.T) {
	const clients, goroutines, cycles = 2, 3, 4
	server := testredis.Start(t)
	for _, l := range local() {
		t.Run(l.Name, func(t *testing.T) {
			testredis.Flush(t, server.Client(t))
			limit := 30 * time.Second
			if l.Sleeps {
				limit = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var inside atomic.Int32
			var all sync.WaitGroup
			for i := range clients {
				locker := open(t, l, server.Addr(), i, clients)
				for range goroutines {
					all.Go(func() {
						if done := work(ctx, t, locker.Lock("shared"), &inside, cycles); done < cycles && !l.Sleeps {
							t.Errorf("%d cycles of %d", done, cycles)
						}
					})
				}
			}
			all.Wait()
		})
	}
}

// work returns how many cycles it did before ctx ended.
func work(ctx context.Context, t *testing.T, lock library.Lock, inside *atomic.Int32, cycles int) int {
	t.Helper()
	for i := range cycles {
		held, err := lock.Acquire(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return i
		}
		if n := inside.Add(1); n != 1 {
			t.Errorf("%d hold it at once", n)
		}
		time.Sleep(time.Millisecond)
		inside.Add(-1)
		if err := held.Release(ctx); err != nil {
			t.Error(err)
		}
	}
	return cycles
}

// A wait ends with its context.
func TestWaitEnds(t *testing.T) {
	server := testredis.Start(t)
	for _, l := range local() {
		t.Run(l.Name, func(t *testing.T) {
			testredis.Flush(t, server.Client(t))
			first := open(t, l, server.Addr(), 0, 2)
			held, err := first.Lock("shared").Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := open(t, l, server.Addr(), 1, 2).Lock("shared").Acquire(ctx); err == nil {
				t.Error("acquired what is held")
			}
			if err := held.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What Sent makes of INFO commandstats is what MONITOR shows.
func TestSent(t *testing.T) {
	const cycles = 20
	server := testredis.Start(t)
	for _, l := range local() {
		t.Run(l.Name, func(t *testing.T) {
			testredis.Flush(t, server.Client(t))
			lock := open(t, l, server.Addr(), 0, 1).Lock("shared")
			var inside atomic.Int32
			work(t.Context(), t, lock, &inside, 2) // scripts are loaded, connections made
			shown := server.CountClientCommands(t)
			server.ResetStats(t)
			work(t.Context(), t, lock, &inside, cycles)
			total := int64(0)
			for name, n := range shown.ByName() {
				if name != "INFO" && name != "ECHO" {
					total += n
				}
			}
			calls := lower(server.Commands(t))
			delete(calls, "ping") // of a pool, at any time
			if got := l.Sent(calls, cycles); got != total {
				t.Errorf("Sent = %d, MONITOR shows %d\n%v\n%v", got, total, calls, shown.ByName())
			}
		})
	}
}

// lower are the names as INFO has them.
func lower(calls map[string]int64) map[string]int64 {
	lowered := make(map[string]int64, len(calls))
	for name, n := range calls {
		lowered[strings.ToLower(name)] = n
	}
	return lowered
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range library.All() {
		if seen[l.Name] || seen[l.Title] {
			t.Errorf("%q or %q is there twice", l.Name, l.Title)
		}
		seen[l.Name], seen[l.Title] = true, true
		if found, err := library.ByName(l.Name); err != nil || found.Title != l.Title {
			t.Errorf("ByName(%q) = %q, %v", l.Name, found.Title, err)
		}
	}
	if _, err := library.ByName("none"); err == nil {
		t.Error("found a library that there is not")
	}
}
