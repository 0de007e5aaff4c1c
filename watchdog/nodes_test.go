package watchdog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// Nodes of a cluster: what is for one of them never waits for another, unless
// nearly all hang.

func TestPipelineIsForOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		w := begin(t, pipe.send)
		due := time.Now().Add(time.Second)
		for i := range 300 {
			w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
				return watchdog.Send{Call: call(fmt.Sprintf("%d/%d", i%3, i)), Limit: time.Second, Done: ignore}, true
			})}, due)
		}
		pass(time.Minute)
		pipes := pipe.sent()
		for _, names := range pipes {
			if len(names) != 100 || slices.ContainsFunc(names, func(n string) bool { return n[0] != names[0][0] }) {
				t.Errorf("a pipeline of %d: %q", len(names), names)
			}
		}
		if len(pipes) != 3 {
			t.Errorf("%d pipelines for three nodes", len(pipes))
		}
	})
}

// hung are the nodes whose names begin with an h.
func hung(names []string) bool { return strings.HasPrefix(names[0], "h") }

// busy is how many pipelines are under way.
func (w *wire) busy() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.under
}

// One node that hangs, with calls of every urgency, each of which would have a
// pipeline of its own: the others are served at once, whatever waits for it.
func TestHungNodeKeepsNobodyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = hung
		w := begin(t, pipe.send)
		for i := range 40 {
			w.Send(watchdog.Send{Call: call("h/x"), Limit: time.Second << min(i, 20), Done: ignore})
		}
		synctest.Wait()
		if n := pipe.busy(); n != perNode {
			t.Errorf("%d pipelines to the node that hangs, want %d", n, perNode)
		}
		for i := range 200 {
			at := time.Duration(-1)
			begun := time.Now()
			w.Send(watchdog.Send{
				Call: call(fmt.Sprintf("%d/x", i%5)), Limit: time.Hour,
				Done: func(*lua.Call) { at = time.Since(begun) },
			})
			pass(time.Second)
			if at != 0 {
				t.Fatalf("a call to another node was answered after %v", at)
			}
		}
	})
}

// cluster drives renewals as they are: due at intervals, given up after a limit,
// tried again soon.
type cluster struct {
	w    *watchdog.Watchdog
	mu   sync.Mutex
	late map[string]time.Duration // by name: the longest time between answers
	last map[string]time.Time
}

const (
	interval = 2 * time.Second // a third of a TTL of 6 s
	limit    = time.Second
	retry    = time.Second / 2
)

func (c *cluster) lease(name string) {
	e := &watchdog.Entry{}
	c.last[name] = time.Now()
	e.Task = task(func(time.Time) (watchdog.Send, bool) {
		return watchdog.Send{Call: call(name), Limit: limit, Done: func(done *lua.Call) {
			if done.Err() != nil {
				c.w.Schedule(e, time.Now().Add(retry))
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.late[name] = max(c.late[name], time.Since(c.last[name]))
			c.last[name] = time.Now()
			c.w.Schedule(e, time.Now().Add(interval))
		}}, true
	})
	c.w.Schedule(e, time.Now().Add(interval))
}

// drive runs leases on so many nodes that answer and that hang, and returns the
// longest time between two renewals of a lease on a node that answers.
func drive(t *testing.T, answering, hanging int) (worst time.Duration, pipe *wire) {
	t.Helper()
	pipe = newWire()
	pipe.hang = hung
	c := &cluster{late: map[string]time.Duration{}, last: map[string]time.Time{}}
	c.w = begin(t, pipe.send)
	for i := range answering {
		for j := range 10 {
			c.lease(fmt.Sprintf("%d/%d", i, j))
		}
	}
	for i := range hanging {
		for j := range 10 {
			c.lease(fmt.Sprintf("h%d/%d", i, j))
		}
	}
	pass(30 * time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, late := range c.late {
		worst = max(worst, late, time.Since(c.last[name]))
	}
	if len(c.late) != 10*answering {
		t.Errorf("%d leases were renewed, of %d that could be", len(c.late), 10*answering)
	}
	return worst, pipe
}

// As many as there are goroutines may hang, and nobody else is a moment late. Even
// where half of a hundred hang at once, the other half keeps its leases.
func TestHungNodes(t *testing.T) {
	for _, c := range []struct {
		hanging int
		worst   time.Duration
	}{{0, interval}, {1, interval}, {8, interval}, {16, interval}, {50, 5 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			worst, pipe := drive(t, 50, c.hanging)
			t.Logf("%d nodes hang: renewed every %v at the latest, %d pipelines at once", c.hanging, worst, pipe.most)
			if worst > c.worst {
				t.Errorf("%d nodes hang: a lease of another was renewed after %v, not %v", c.hanging, worst, c.worst)
			}
			if pipe.most > senders {
				t.Errorf("%d pipelines at once", pipe.most)
			}
		})
	}
}

// wait tells how long a call to a node waits before it is answered.
func wait(w *watchdog.Watchdog, name string, limit time.Duration) time.Duration {
	begun, at := time.Now(), time.Duration(-1)
	w.Send(watchdog.Send{Call: call(name), Limit: limit, Done: func(*lua.Call) { at = time.Since(begun) }})
	pass(time.Millisecond)
	return at
}

// Some nodes that hang, each with calls of several urgencies, leave goroutines to
// the others.
func TestManyPipelinesOfHungNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = hung
		w := begin(t, pipe.send)
		for i := range 2 * senders {
			name := fmt.Sprintf("h%d/x", i%(senders/2))
			w.Send(watchdog.Send{Call: call(name), Limit: time.Minute << (2 * (i / (senders / 2))), Done: ignore})
			synctest.Wait()
		}
		if n := pipe.busy(); n != senders/2 {
			t.Errorf("%d pipelines to nodes that hang, want %d", n, senders/2)
		}
		if at := wait(w, "answers/x", time.Second); at != 0 {
			t.Errorf("a call to another node was answered after %v", at)
		}
	})
}

// More nodes hang than there are goroutines: that holds the others up once, until
// it is known which they are.
func TestSilentNodesLeaveGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = hung
		w := begin(t, pipe.send)
		over := time.Now().Add(time.Minute)
		for i := range senders + 8 {
			var again func(*lua.Call)
			name := fmt.Sprintf("h%d/x", i)
			again = func(*lua.Call) {
				if time.Now().Before(over) {
					w.Send(watchdog.Send{Call: call(name), Limit: 10 * time.Second, Done: again})
				}
			}
			again(nil)
		}
		synctest.Wait()
		if n := pipe.busy(); n != senders {
			t.Errorf("%d pipelines", n)
		}
		pass(25 * time.Second)
		if at := wait(w, "answers/x", time.Second); at != 0 {
			t.Errorf("a call to a node that answers was answered after %v", at)
		}
	})
}

// A node that was silent is tried before those to which something is under way,
// however urgent their calls are.
func TestSilentNodeIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = hung
		w := begin(t, pipe.send)
		send := func(name string, limit time.Duration) {
			w.Send(watchdog.Send{Call: call(name), Limit: limit, Done: ignore})
		}
		send("h/back", time.Second)
		pass(time.Second)
		for i := range senders { // to five nodes: four pipelines each at most, more calls than may go
			send(fmt.Sprintf("h%d/x", i%5), time.Minute<<(2*(i/5)))
			synctest.Wait()
		}
		for i := range 5 {
			send(fmt.Sprintf("h%d/urgent", i), time.Second)
		}
		pipe.mu.Lock()
		pipe.hang = func(names []string) bool { return names[0] != "h/back" }
		pipe.mu.Unlock()
		before := len(pipe.sent())
		send("h/back", time.Hour)
		pass(time.Minute) // the first of those that hang is given up
		if next := pipe.sent()[before]; next[0] != "h/back" {
			t.Errorf("%q was sent first", next)
		}
	})
}

// A node that answers again is served again as before.
func TestHungNodeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		var mu sync.Mutex
		hangs := true
		pipe.hang = func([]string) bool {
			mu.Lock()
			defer mu.Unlock()
			return hangs
		}
		w := begin(t, pipe.send)
		answered := 0
		send := func(n int) {
			for i := range n {
				w.Send(watchdog.Send{Call: call("h/x"), Limit: time.Second << i, Done: func(c *lua.Call) {
					mu.Lock()
					defer mu.Unlock()
					if c.Err() == nil {
						answered++
					}
				}})
				synctest.Wait()
			}
		}
		send(2 * perNode)
		mu.Lock()
		hangs = false
		mu.Unlock()
		pass(time.Hour)
		send(10)
		if answered != perNode+10 { // the first four hung
			t.Errorf("%d calls were answered", answered)
		}
	})
}

// Urgent calls that keep all pipelines to a node under way do not keep back for
// ever what has time.
func TestUrgentCallsStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, func(context.Context, []*lua.Call) { time.Sleep(20 * time.Millisecond) })
		urgent := func() { w.Send(watchdog.Send{Call: call("x"), Limit: 100 * time.Millisecond, Done: ignore}) }
		for range 100 {
			urgent()
			pass(3 * time.Millisecond)
		}
		begun, at := time.Now(), time.Duration(-1)
		w.Send(watchdog.Send{Call: call("y"), Limit: 5 * time.Second, Done: func(*lua.Call) { at = time.Since(begun) }})
		for range 5000 {
			urgent()
			pass(3 * time.Millisecond)
		}
		if at < 0 || at > 6*time.Second {
			t.Errorf("a call that may take 5 s was answered after %v", at)
		}
	})
}
