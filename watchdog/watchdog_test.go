package watchdog_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the package documents of itself: so many pipelines at once, so many of them
// to one node, with so many calls each.
const (
	senders = 32
	perNode = 4
	batch   = 512
)

// node is the node that a call goes to: what its name has before a slash.
func node(c *lua.Call) string {
	node, _, _ := strings.Cut(nameOf(c), "/")
	if node == nameOf(c) {
		return ""
	}
	return node
}

// task is a Task made of a function.
type task func(now time.Time) (watchdog.Send, bool)

func (f task) Tick(now time.Time) (watchdog.Send, bool) { return f(now) }

// nothing is the result of a Tick that sends nothing.
func nothing() (watchdog.Send, bool) { return watchdog.Send{}, false }

func call(name string) *lua.Call { return lua.NewCall(lua.MutexRenew, []any{name}) }

func nameOf(c *lua.Call) string {
	name, _ := c.Keys()[0].(string)
	return name
}

// wire is a Sender that keeps what it was given.
type wire struct {
	mu    sync.Mutex
	pipes [][]string
	at    []time.Duration // when, since the wire was made
	ends  []time.Duration // when each pipeline's context ends, from its start
	under int             // now under way
	most  int             // at once, ever
	start time.Time
	// hang, if set, blocks the pipelines it says so of until their contexts end.
	hang func(names []string) bool
}

func newWire() *wire { return &wire{start: time.Now()} }

func (w *wire) send(ctx context.Context, calls []*lua.Call) {
	var names []string
	for _, c := range calls {
		names = append(names, nameOf(c))
	}
	deadline, _ := ctx.Deadline()
	w.mu.Lock()
	w.pipes = append(w.pipes, names)
	w.at = append(w.at, time.Since(w.start))
	w.ends = append(w.ends, time.Until(deadline))
	w.under++
	w.most = max(w.most, w.under)
	hang := w.hang != nil && w.hang(names)
	w.mu.Unlock()
	if hang {
		<-ctx.Done()
		for _, c := range calls {
			c.SetErr(ctx.Err())
		}
	}
	w.mu.Lock()
	w.under--
	w.mu.Unlock()
}

func (w *wire) sent() [][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pipes)
}

// begin starts a watchdog that ends with the test.
func begin(t *testing.T, send watchdog.Sender) *watchdog.Watchdog {
	t.Helper()
	w := watchdog.New(context.WithoutCancel(t.Context()), send, node)
	t.Cleanup(func() {
		if err := w.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return w
}

// ticks counts the Ticks of an entry.
func ticks(n *int) task {
	return func(time.Time) (watchdog.Send, bool) { *n++; return nothing() }
}

func ignore(*lua.Call) {}

// pass lets that time go by, and all that is due in it be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEarliestDueFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		start := time.Now()
		var ticked []int
		order := rand.Perm(500)
		for _, i := range order {
			due := start.Add(time.Duration(i+1) * time.Millisecond)
			w.Schedule(&watchdog.Entry{Task: task(func(now time.Time) (watchdog.Send, bool) {
				if !now.Equal(due) {
					t.Errorf("%d ticked at %v, due at %v", i, now.Sub(start), due.Sub(start))
				}
				ticked = append(ticked, i)
				return nothing()
			})}, due)
		}
		pass(time.Hour)
		if len(ticked) != len(order) || !slices.IsSorted(ticked) {
			t.Fatalf("ticked %v", ticked)
		}
	})
}

func TestScheduleOfThePastTicksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		var later, n int
		w.Schedule(&watchdog.Entry{Task: ticks(&later)}, time.Now().Add(time.Minute))
		w.Schedule(&watchdog.Entry{Task: ticks(&n)}, time.Now().Add(-time.Hour))
		synctest.Wait()
		if n != 1 || later != 0 {
			t.Fatalf("%d and %d ticks", n, later)
		}
	})
}

func TestScheduleReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		start := time.Now()
		for name, dues := range map[string][]time.Duration{
			"later":   {time.Second, 3 * time.Second},
			"earlier": {3 * time.Second, time.Second},
			"both":    {2 * time.Second, time.Second, 4 * time.Second},
			"same":    {time.Second, time.Second},
		} {
			var at []time.Duration
			e := &watchdog.Entry{Task: task(func(now time.Time) (watchdog.Send, bool) {
				at = append(at, now.Sub(start))
				return nothing()
			})}
			start = time.Now()
			for _, due := range dues {
				w.Schedule(e, start.Add(due))
			}
			pass(time.Minute)
			if want := dues[len(dues)-1]; !slices.Equal(at, []time.Duration{want}) {
				t.Errorf("%s: ticked at %v, want %v", name, at, want)
			}
		}
	})
}

// An entry that moves in the middle of many keeps the others' order.
func TestScheduleAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		start := time.Now()
		want := make([]time.Duration, 200) // 0: cancelled
		got := make([]time.Duration, len(want))
		entries := make([]watchdog.Entry, len(want))
		for i := range entries {
			entries[i].Task = task(func(now time.Time) (watchdog.Send, bool) {
				if got[i] != 0 {
					t.Errorf("%d ticked twice", i)
				}
				got[i] = now.Sub(start)
				return nothing()
			})
		}
		for range 20 * len(want) {
			i := rand.IntN(len(want))
			if rand.IntN(4) == 0 {
				want[i] = 0
				w.Cancel(&entries[i])
				continue
			}
			want[i] = time.Duration(rand.IntN(1000)+1) * time.Millisecond
			w.Schedule(&entries[i], start.Add(want[i]))
		}
		pass(time.Minute)
		if !slices.Equal(got, want) {
			t.Fatalf("ticked at\n%v\nwant\n%v", got, want)
		}
	})
}

func TestTickSchedulesItselfAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		n := 0
		e := &watchdog.Entry{}
		e.Task = task(func(now time.Time) (watchdog.Send, bool) {
			n++
			w.Schedule(e, now.Add(time.Second))
			return nothing()
		})
		w.Schedule(e, time.Now().Add(time.Second))
		pass(10*time.Second + time.Millisecond)
		if n != 10 {
			t.Fatalf("%d ticks in ten seconds", n)
		}
		w.Cancel(e)
		pass(time.Minute)
		if n != 10 {
			t.Fatalf("%d ticks, some after Cancel", n)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		var n, other int
		e := &watchdog.Entry{Task: ticks(&n)}
		w.Cancel(e) // not scheduled
		w.Schedule(e, time.Now().Add(time.Second))
		w.Schedule(&watchdog.Entry{Task: ticks(&other)}, time.Now().Add(2*time.Second))
		w.Cancel(e)
		w.Cancel(e)
		pass(time.Minute)
		if n != 0 || other != 1 {
			t.Fatalf("ticks: %d of what was cancelled, %d of the other", n, other)
		}
		w.Schedule(e, time.Now().Add(time.Second))
		pass(time.Minute)
		if n != 1 {
			t.Fatalf("%d ticks after it was scheduled again", n)
		}
		w.Cancel(e) // ticked
	})
}

func TestThousandsOfEntriesAFewGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, period = 10000, 10 * time.Second
		pipe := newWire()
		var most int
		var mu sync.Mutex
		w := begin(t, func(ctx context.Context, calls []*lua.Call) {
			mu.Lock()
			most = max(most, runtime.NumGoroutine())
			mu.Unlock()
			pipe.send(ctx, calls)
		})
		before := runtime.NumGoroutine()
		start := time.Now()
		done := 0
		c := call("x")
		entries := make([]watchdog.Entry, n)
		for i := range entries {
			e := &entries[i]
			e.Task = task(func(now time.Time) (watchdog.Send, bool) {
				w.Schedule(e, now.Add(period))
				return watchdog.Send{Call: c, Limit: time.Second, Done: func(*lua.Call) {
					mu.Lock()
					defer mu.Unlock()
					done++
				}}, true
			})
			w.Schedule(e, start.Add(time.Duration(rand.Int64N(int64(period)))))
		}
		pass(3*period - time.Nanosecond)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if done != 3*n {
			t.Errorf("%d calls are done, want %d", done, 3*n)
		}
		if most > before+perNode {
			t.Errorf("%d goroutines, %d before", most, before)
		}
	})
}

func TestWhatIsDueTogetherIsOnePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		w := begin(t, pipe.send)
		due := time.Now().Add(time.Second)
		const n = 100
		for i := range n {
			w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
				return watchdog.Send{Call: call(strconv.Itoa(i)), Limit: time.Second, Done: ignore}, true
			})}, due)
			w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
				time.Sleep(time.Nanosecond) // a sender that was told too early would send now
				return nothing()
			})}, due)
		}
		w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
			return watchdog.Send{Call: call("later"), Limit: time.Second, Done: ignore}, true
		})}, due.Add(time.Millisecond))
		pass(time.Minute)
		pipes := pipe.sent()
		if len(pipes) != 2 || len(pipes[0]) != n || !slices.Equal(pipes[1], []string{"later"}) {
			t.Fatalf("sent %q", pipes)
		}
	})
}

func TestPipelinesHaveABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		w := begin(t, pipe.send)
		due := time.Now().Add(time.Second)
		for i := range 2*batch + 1 {
			w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
				return watchdog.Send{Call: call(strconv.Itoa(i)), Limit: time.Second, Done: ignore}, true
			})}, due)
		}
		pass(time.Minute)
		var sizes []int
		seen := map[string]bool{}
		for _, names := range pipe.sent() {
			sizes = append(sizes, len(names))
			for _, name := range names {
				seen[name] = true
			}
		}
		slices.Sort(sizes)
		if !slices.Equal(sizes, []int{1, batch, batch}) || len(seen) != 2*batch+1 {
			t.Fatalf("pipelines of %d, %d calls in all", sizes, len(seen))
		}
	})
}

// Each call is done once, after its pipeline, answered or not.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func(names []string) bool { return names[0] == "unanswered" }
		w := begin(t, pipe.send)
		start := time.Now()
		at := map[string][]time.Duration{}
		var mu sync.Mutex
		send := func(name string, limit time.Duration) {
			c := call(name)
			w.Send(watchdog.Send{Call: c, Limit: limit, Done: func(done *lua.Call) {
				mu.Lock()
				defer mu.Unlock()
				if done != c {
					t.Errorf("%s: done with another call", name)
				}
				at[name] = append(at[name], time.Since(start))
			}})
		}
		send("unanswered", 3*time.Second)
		synctest.Wait()
		send("answered", 3*time.Second)
		synctest.Wait()
		pass(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(at["unanswered"], []time.Duration{3 * time.Second}) || !slices.Equal(at["answered"], []time.Duration{0}) {
			t.Fatalf("done at %v", at)
		}
	})
}

// One that hangs keeps neither the schedule nor the other perNode.
func TestHangingSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func([]string) bool { return true }
		w := begin(t, pipe.send)
		start := time.Now()
		var late int
		e := &watchdog.Entry{}
		e.Task = task(func(now time.Time) (watchdog.Send, bool) {
			if now.Sub(start)%time.Second != 0 {
				late++
			}
			if now.Sub(start) < 20*time.Second {
				w.Schedule(e, now.Add(time.Second))
			}
			return nothing()
		})
		w.Schedule(e, start.Add(time.Second))
		for i := range perNode + 2 {
			w.Send(watchdog.Send{Call: call(strconv.Itoa(i)), Limit: time.Duration(10+i) * time.Second, Done: ignore})
			synctest.Wait()
			if got, want := len(pipe.sent()), min(i+1, perNode); got != want {
				t.Fatalf("%d pipelines are under way, want %d", got, want)
			}
		}
		// A deadline that comes meanwhile is told at its time.
		var told int
		w.Schedule(&watchdog.Entry{Task: ticks(&told)}, start.Add(500*time.Millisecond))
		pass(500 * time.Millisecond)
		synctest.Wait()
		if told != 1 {
			t.Fatal("an entry waits for a sender")
		}
		pass(time.Minute)
		if late != 0 {
			t.Errorf("%d late ticks", late)
		}
		if pipe.most != perNode {
			t.Errorf("%d pipelines at once, want %d", pipe.most, perNode)
		}
		// The two that had to wait went as one when the first gave up.
		pipes := pipe.sent()
		if len(pipes) != perNode+1 || len(pipes[perNode]) != 2 || pipe.at[perNode] != 10*time.Second {
			t.Errorf("sent %q at %v", pipes, pipe.at)
		}
	})
}

// Calls that may take long do not wait behind an urgent one, nor give up with it.
func TestLimitsAreNotMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func([]string) bool { return true }
		w := begin(t, pipe.send)
		due := time.Now().Add(time.Second)
		limits := map[string]time.Duration{
			"slow": 2 * time.Second, "slower": 4 * time.Second, "slowest": 4*time.Second + 1,
			"urgent": 10 * time.Millisecond, "double": 20 * time.Millisecond, "more": 20*time.Millisecond + 1,
			"none": 0,
		}
		for name, limit := range limits {
			w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
				return watchdog.Send{Call: call(name), Limit: limit, Done: ignore}, true
			})}, due)
		}
		pass(time.Minute)
		var got []string
		for i, names := range pipe.sent() {
			slices.Sort(names)
			least := limits[names[0]]
			for _, name := range names {
				least = min(least, limits[name])
			}
			if pipe.ends[i] != least {
				t.Errorf("the context of %q ends after %v, want %v", names, pipe.ends[i], least)
			}
			for _, name := range names {
				if limits[name] > 2*least {
					t.Errorf("%q share a limit of %v", names, least)
				}
			}
			got = append(got, names...)
			if i < perNode && pipe.at[i] != time.Second {
				t.Errorf("%q were sent at %v, behind others that hang", names, pipe.at[i])
			}
		}
		if len(pipe.pipes) != 5 || len(got) != len(limits) {
			t.Fatalf("sent %q", pipe.pipes)
		}
	})
}

func TestMostUrgentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func(names []string) bool { return names[0] == "hangs" }
		w := begin(t, pipe.send)
		for i := range perNode { // the first one ends in time to send the rest alone
			w.Send(watchdog.Send{Call: call("hangs"), Limit: time.Duration(1+10*i) * time.Hour, Done: ignore})
			synctest.Wait()
		}
		for _, limit := range []time.Duration{time.Minute, time.Millisecond, 10 * time.Second, time.Second} {
			w.Send(watchdog.Send{Call: call(limit.String()), Limit: limit, Done: ignore})
		}
		pass(2 * time.Hour)
		want := [][]string{{"1ms"}, {"1s"}, {"10s"}, {"1m0s"}}
		if pipes := pipe.sent(); !slices.EqualFunc(pipes[perNode:], want, slices.Equal) {
			t.Fatalf("sent %q", pipes)
		}
	})
}

func TestPipelineEndsAtItsSmallestLimit(t *testing.T) {
	limits := []time.Duration{1900 * time.Millisecond, time.Second, 1500 * time.Millisecond}
	for i := range limits {
		synctest.Test(t, func(t *testing.T) {
			pipe := newWire()
			pipe.hang = func([]string) bool { return true }
			w := begin(t, pipe.send)
			start := time.Now()
			ended := 0
			for _, limit := range slices.Concat(limits[i:], limits[:i]) { // each is once the last
				w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
					return watchdog.Send{Call: call(limit.String()), Limit: limit, Done: func(*lua.Call) {
						if got := time.Since(start); got != 2*time.Second {
							t.Errorf("ended at %v", got)
						}
						ended++
					}}, true
				})}, start.Add(time.Second))
			}
			pass(time.Minute)
			if len(pipe.sent()) != 1 || ended != len(limits) {
				t.Fatalf("sent %q, %d ended", pipe.sent(), ended)
			}
		})
	}
}

func TestCloseStopsTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		n := 0
		e := &watchdog.Entry{Task: ticks(&n)}
		w.Schedule(e, time.Now().Add(time.Second))
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		w.Schedule(e, time.Now())
		w.Schedule(&watchdog.Entry{Task: ticks(&n)}, time.Now())
		pass(time.Minute)
		w.Cancel(e)
		if n != 0 {
			t.Fatalf("%d ticks after Close", n)
		}
	})
}

func TestCloseWaitsForATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newWire().send)
		over := false
		w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
			time.Sleep(time.Second) // a Tick does not, but shows the order
			over = true
			return nothing()
		})}, time.Now())
		synctest.Wait()
		if err := w.Close(t.Context()); err != nil || !over {
			t.Fatalf("Close = %v while a Tick is under way", err)
		}
	})
}

func TestCloseWaitsForSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func([]string) bool { return true }
		w := begin(t, pipe.send)
		start := time.Now()
		done := 0
		var mu sync.Mutex
		for i := range perNode + 3 { // the last three wait for a sender, and are sent too
			w.Send(watchdog.Send{Call: call(strconv.Itoa(i)), Limit: 3 * time.Second, Done: func(*lua.Call) {
				mu.Lock()
				defer mu.Unlock()
				done++
			}})
			synctest.Wait()
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if got := time.Since(start); got != 6*time.Second || done != perNode+3 {
			t.Fatalf("closed after %v with %d calls done", got, done)
		}
	})
}

func TestCloseHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func([]string) bool { return true }
		w := begin(t, pipe.send)
		start := time.Now()
		w.Send(watchdog.Send{Call: call("x"), Limit: 10 * time.Second, Done: ignore})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 {
			if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Close = %v", err)
			}
		}
		if got := time.Since(start); got != time.Second {
			t.Fatalf("Close took %v", got)
		}
		// Calling it again waits again, for more than one at once.
		ends := make(chan error)
		for range 3 {
			go func() { ends <- w.Close(t.Context()) }()
		}
		for range 3 {
			if err := <-ends; err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Fatalf("the last Close returned after %v", got)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// The context of the calls is the client's: when that ends, they do.
func TestClosedContextEndsSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		var ended error
		w := watchdog.New(ctx, func(ctx context.Context, _ []*lua.Call) {
			<-ctx.Done()
			ended = ctx.Err()
		}, node)
		start := time.Now()
		w.Send(watchdog.Send{Call: call("x"), Limit: time.Hour, Done: ignore})
		synctest.Wait()
		stop()
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(ended, context.Canceled) || time.Since(start) != 0 {
			t.Fatalf("%v after %v", ended, time.Since(start))
		}
		// Sent after Close: it fails at once, and its sender ends.
		done := false
		w.Send(watchdog.Send{Call: call("late"), Limit: time.Hour, Done: func(*lua.Call) { done = true }})
		synctest.Wait()
		if !done {
			t.Fatal("a call sent after Close is not done")
		}
	})
}

// What is done may send again: Close waits for that too.
func TestDoneMaySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func([]string) bool { return true }
		w := begin(t, pipe.send)
		left := 3
		var again func(*lua.Call)
		again = func(*lua.Call) {
			if left--; left > 0 {
				w.Send(watchdog.Send{Call: call("x"), Limit: time.Second, Done: again})
			}
		}
		w.Send(watchdog.Send{Call: call("x"), Limit: time.Second, Done: again})
		if err := w.Close(t.Context()); err != nil || left != 0 {
			t.Fatalf("Close = %v with %d calls left", err, left)
		}
	})
}

// In real time, for the race detector.
func TestConcurrentUse(t *testing.T) {
	w := begin(t, func(context.Context, []*lua.Call) {})
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			e := &watchdog.Entry{}
			e.Task = task(func(now time.Time) (watchdog.Send, bool) {
				w.Schedule(e, now.Add(time.Millisecond))
				return watchdog.Send{Call: call("x"), Limit: time.Second, Done: ignore}, true
			})
			for i := range 300 {
				w.Schedule(e, time.Now().Add(time.Duration(i%3)*time.Millisecond/2))
				if i%5 == 0 {
					w.Cancel(e)
					w.Send(watchdog.Send{Call: call("y"), Limit: time.Second, Done: ignore})
				}
			}
		})
	}
	users.Wait()
}
