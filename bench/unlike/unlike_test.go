package unlike_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// row is one claim, and who keeps it.
type row struct {
	test  string // its name below TestUnlike
	claim string
	keeps []string
	run   func(e *env) bool
}

func rows() []row {
	const rs, bsm, rue = "redsync", "bsm/redislock", "rueidislock"
	return []row{
		{"FirstComeFirstServed", "Waiters get the lock in the order in which they came", nil, firstCome},
		{"NobodyBarges", "Who releases and locks again does not overtake those who wait", nil, nobodyBarges},
		{"WaitsAsLongAsItsContext", "A lock waits as long as its context, not for so many tries or a TTL", []string{rue}, waitsOn},
		{"ErrorOutlived", "A waiter outlives an error of Redis that passes", []string{rs}, errorOutlived},
		{"ContextErrorIsSaid", "The error of a wait that ends with its context Is that context's", []string{bsm, rue}, contextError},
		{"BusySaysWho", "A refused try says who holds the lock", nil, busySaysWho},
		{"TryReplyLost", "A try whose first reply is lost with its connection does not find itself in the way", []string{bsm}, tryReplyLost},
		{"NoOrphan", "A lock that gives up while its command is unanswered leaves nothing behind", []string{rue}, noOrphan},
		{"CutOffHolderIsTold", "A holder that is cut off is told before another has the lock", nil, cutOff},
		{"RemovedIsTold", "A holder whose key was deleted is told within half a TTL", []string{rue}, removedIsTold},
		{"LossHasACause", "… and why", nil, lossHasCause},
		{"ReleaseReplyLost", "A release whose reply is lost is not taken for a loss", nil, releaseReplyLost},
		{"ReleaseWithEndedContext", "A release works although its context has ended", []string{rue}, releaseEnded},
		{"ReleaseWhileHung", "A release returns within 3.5 s while Redis hangs", nil, releaseHung},
		{"Token", "Each acquisition has a fencing token, greater than the one before", nil, tokenGrows},
	}
}

// says tells of the cells that are neither yes nor no.
var says = map[string]string{
	"ReleaseReplyLost rueidislock": "says nothing",
}

func (r row) cell(lib string) string {
	switch {
	case says[r.test+" "+lib] != "":
		return says[r.test+" "+lib]
	case lib == "Holdfast" || slices.Contains(r.keeps, lib):
		return "yes"
	}
	return "no"
}

// TestMain lets more run at once than there are processors: most of a test is
// waiting.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestUnlike runs each row against each library.
func TestUnlike(t *testing.T) {
	t.Parallel()
	for _, r := range rows() {
		t.Run(r.test, func(t *testing.T) {
			t.Parallel()
			for _, lib := range libraries() {
				want := r.cell(lib.name)
				if want != "yes" && want != "no" {
					continue
				}
				t.Run(strings.ReplaceAll(lib.name, "/", " "), func(t *testing.T) {
					t.Parallel()
					if got := r.run(newEnv(t, lib)); got != (want == "yes") {
						t.Errorf("%s: %v, and the table says %q", r.claim, got, want)
					}
				})
			}
		})
	}
}

// TestTable: docs/comparison.md has these rows and cells.
func TestTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/comparison.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows() {
		cells := []string{r.claim}
		for _, lib := range libraries() {
			cells = append(cells, r.cell(lib.name))
		}
		line := "| " + strings.Join(append(cells, "`"+r.test+"`"), " | ") + " |"
		if !strings.Contains(string(page), "\n"+line+"\n") {
			t.Errorf("docs/comparison.md lacks\n%s", line)
		}
	}
}

const (
	name = "thing" // of the lock
	long = 10 * time.Second
)

// env is what a row is run with: a server of its own.
type env struct {
	*testing.T
	lib    library
	server *testredis.Server
}

func newEnv(t *testing.T, lib library) *env {
	t.Helper()
	return &env{t, lib, testredis.Start(t)}
}

// client is one process, directly at the server.
func (e *env) client(ttl time.Duration) locker {
	e.Helper()
	return e.lib.open(e.T, e.server.Addr(), ttl)
}

// proxied is one process behind a network of its own. Its scripts are loaded, so
// that a rule counts each command once.
func (e *env) proxied(ttl time.Duration) (locker, *faultproxy.Proxy) {
	e.Helper()
	p := faultproxy.New(e, e.server.Addr())
	l := e.lib.open(e.T, p.Addr(), ttl)
	e.release(e.lock(l, "warm"))
	e.release(e.lock(l, "warm"))
	return l, p
}

// commands on the key of the lock.
func (e *env) commands() faultproxy.Matcher { return faultproxy.HasArg(e.lib.key(name)) }

func (e *env) lock(l locker, name string) held {
	e.Helper()
	h, err := l.lock(e.Context(), name)
	if err != nil {
		e.Fatal(err)
	}
	return h
}

func (e *env) release(h held) {
	e.Helper()
	if err := h.release(e.Context()); err != nil {
		e.Fatal(err)
	}
}

// within tells whether something comes true in time.
func (e *env) within(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		switch {
		case ok():
			return true
		case time.Now().After(end):
			return false
		}
	}
}

// gone tells whether the lock's key is gone within a second, so not by its TTL.
func (e *env) gone() bool {
	rdb := e.server.Client(e)
	return e.within(time.Second, func() bool {
		return rdb.Exists(e.Context(), e.lib.key(name)).Val() == 0
	})
}

// process is a client whose commands are seen.
type process struct {
	locker
	network *faultproxy.Proxy
}

// wait lets a process wait for the lock, and release it at once when it has it; got
// is called in between. Who is still asleep after some seconds never gets it. It
// returns when the process has asked for the lock.
func (e *env) wait(all *sync.WaitGroup, l process, got func(ok bool)) {
	asked := l.network.Add(e.commands(), faultproxy.Pass)
	defer asked.Remove()
	all.Go(func() {
		ctx, cancel := context.WithTimeout(e.Context(), long)
		defer cancel()
		h, err := l.lock(ctx, name)
		got(err == nil)
		if err == nil {
			err = h.release(e.Context())
		}
		if err != nil && ctx.Err() == nil {
			e.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(e.Context(), long)
	defer cancel()
	if err := asked.WaitHit(ctx); err != nil {
		e.Error(err)
	}
	time.Sleep(20 * time.Millisecond) // until it was answered
}

// firstCome lets six wait, in another order than that in which they connected, and
// looks in which order they get the lock; several times, since it may happen to
// be right.
func firstCome(e *env) bool {
	const waiters, rounds = 6, 5
	var clients []process
	for range waiters {
		l, p := e.proxied(long)
		clients = append(clients, process{l, p})
	}
	first := e.client(long)
	for round := range rounds {
		h := e.lock(first, name)
		places := make(chan int, waiters)
		var all sync.WaitGroup
		for place := range waiters {
			e.wait(&all, clients[(place*5+round)%waiters], func(ok bool) {
				if ok {
					places <- place
				}
			})
		}
		e.release(h)
		all.Wait()
		close(places)
		next := 0
		for place := range places {
			if place == next {
				next++
			}
		}
		if next != waiters {
			return false
		}
	}
	return true
}

// nobodyBarges: one waits, the holder releases and locks again; several times,
// since it is a race where it is not a rule.
func nobodyBarges(e *env) bool {
	l, p := e.proxied(long)
	owner := process{l, p}
	l, p = e.proxied(long)
	waiter := process{l, p}
	for range 10 {
		h := e.lock(owner, name)
		first := make(chan string, 2)
		var all sync.WaitGroup
		e.wait(&all, waiter, func(bool) { first <- "the waiter" })
		e.release(h)
		e.wait(&all, owner, func(bool) { first <- "the holder" })
		all.Wait()
		if <-first != "the waiter" {
			return false
		}
	}
	return true
}

// waitsOn: the lock is taken for nine seconds, which is beyond the TTL that is
// asked for and beyond 32 tries at most 250 ms apart.
func waitsOn(e *env) bool {
	l := e.client(2 * time.Second)
	rdb := e.server.Client(e)
	if err := rdb.Set(e.Context(), e.lib.key(name), "somebody", 9*time.Second).Err(); err != nil {
		e.Fatal(err)
	}
	_, err := l.lock(e.Context(), name)
	e.Log(err)
	return err == nil
}

// errorOutlived: Redis is out of memory for half a second.
func errorOutlived(e *env) bool {
	l, p := e.proxied(long)
	rule := p.Add(e.commands(), faultproxy.ReplyError("OOM command not allowed when used memory > 'maxmemory'."))
	time.AfterFunc(500*time.Millisecond, rule.Remove)
	ctx, cancel := context.WithTimeout(e.Context(), 3*time.Second)
	defer cancel()
	_, err := l.lock(ctx, name)
	e.Log(err)
	if rule.Hits() == 0 {
		e.Error("nothing was answered by an error")
	}
	return err == nil
}

func contextError(e *env) bool {
	h := e.lock(e.client(long), name)
	defer e.release(h) // and Holdfast gives back a lease that nobody refers to
	ctx, cancel := context.WithTimeout(e.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := e.client(long).lock(ctx, name)
	e.Log(err)
	return errors.Is(err, context.DeadlineExceeded)
}

func busySaysWho(e *env) bool {
	h := e.lock(e.client(long), name)
	defer e.release(h)
	_, err := e.client(long).try(e.Context(), name)
	if err == nil {
		e.Fatal("two hold it")
	}
	e.Log(err)
	return strings.Contains(fmt.Sprintf("%v %+v", err, err), holder)
}

// tryReplyLost: the server took the lock, and the connection broke before it said
// so. The driver, or the library, sends the command again.
func tryReplyLost(e *env) bool {
	l, p := e.proxied(long)
	rule := p.Add(faultproxy.First(1, e.commands()), faultproxy.SwallowReplyThenClose)
	_, err := l.try(e.Context(), name)
	e.Log(err)
	if rule.Hits() != 1 {
		e.Error("no reply was lost")
	}
	return err == nil
}

// noOrphan: the server took the lock, and the answer never comes.
func noOrphan(e *env) bool {
	l, p := e.proxied(long)
	rule := p.Add(faultproxy.First(1, e.commands()), faultproxy.SwallowReplyThenHang)
	ctx, cancel := context.WithTimeout(e.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := l.lock(ctx, name); err == nil {
		e.Fatal("it has the lock")
	}
	if rule.Hits() != 1 {
		e.Error("no reply was lost")
	}
	return e.gone()
}

// cutOff: a rival tries until the TTL is over. In the moment in which it has the
// lock, the first holder must know.
func cutOff(e *env) bool {
	const ttl = time.Second
	l, p := e.proxied(ttl)
	h := e.lock(l, name)
	told := h.told()
	p.Blackhole(true, true)
	defer p.Heal()
	rival := e.client(ttl)
	var next held
	if !e.within(10*ttl, func() (ok bool) {
		var err error
		next, err = rival.try(e.Context(), name)
		return err == nil
	}) {
		e.Fatal("the rival never got the lock")
	}
	knows := told != nil && told.Err() != nil
	e.release(next)
	return knows
}

func removedIsTold(e *env) bool {
	told, _ := removed(e)
	return told
}

func lossHasCause(e *env) bool {
	_, cause := removed(e)
	e.Log(cause)
	return cause != nil && !errors.Is(cause, context.Canceled)
}

// removed deletes the key of a lock that is held, and returns whether its holder was
// told, and what.
func removed(e *env) (told bool, cause error) {
	const ttl = 3 * time.Second
	h := e.lock(e.client(ttl), name)
	ctx := h.told()
	if ctx == nil {
		return false, nil
	}
	if n := e.server.Client(e).Del(e.Context(), e.lib.key(name)).Val(); n != 1 {
		e.Fatal("there is no such key")
	}
	told = e.within(ttl/2, func() bool { return ctx.Err() != nil })
	return told, context.Cause(ctx)
}

func releaseReplyLost(e *env) bool {
	l, p := e.proxied(long)
	h := e.lock(l, name)
	rule := p.Add(faultproxy.First(1, e.commands()), faultproxy.SwallowReplyThenClose)
	err := h.release(e.Context())
	e.Log(err)
	if rule.Hits() != 1 {
		e.Error("no reply was lost")
	}
	return err == nil
}

func releaseEnded(e *env) bool {
	h := e.lock(e.client(long), name)
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	err := h.release(ctx)
	e.Log(err)
	return e.gone()
}

func releaseHung(e *env) bool {
	l, p := e.proxied(20 * time.Second)
	h := e.lock(l, name)
	p.Blackhole(true, true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.release(e.Context()) // it cannot succeed
	}()
	timer := time.NewTimer(3500 * time.Millisecond)
	defer timer.Stop()
	defer func() { <-done }()
	defer p.Heal()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

func tokenGrows(e *env) bool {
	var last int64
	for range 3 {
		h := e.lock(e.client(long), name)
		if h.token() <= last {
			return false
		}
		last = h.token()
		e.release(h)
	}
	return true
}
