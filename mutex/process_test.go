//go:build linux

package mutex_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// These tests run locks in processes of their own, which are killed, stopped and
// made to exit. They are not parallel to others: most of them measure times.

const (
	lockName    = "shared"
	lockKey     = "holdfast:mutex:" + lockName
	registerKey = "register"

	// longVariable asks for the long runs.
	longVariable = "HOLDFAST_LONG"

	// slack is what wakes, polls and a busy machine may add to a time that the
	// protocol bounds.
	slack = 200 * time.Millisecond

	// minLiveness is for how long a waiter that polls often counts as alive
	// after its last poll. One that polls seldom counts for three intervals.
	minLiveness = 100 * time.Millisecond

	// answerTime is how long a child may take to answer, and cycleTime to come
	// to the end of its cycles.
	answerTime = 30 * time.Second
	cycleTime  = 3 * time.Minute
)

// child is a process that runs TestChildProcess.
type child struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	reports chan report  // closed once the process was waited for
	output  bytes.Buffer // what it said otherwise; to be read once it ended
	err     error        // of Wait
	ending  atomic.Bool  // the test has seen to its end
}

// startChild returns once the child is connected.
func startChild(t *testing.T, set settings) *child {
	t.Helper()
	given, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0],
		"-test.run=^TestChildProcess$", "-test.cpu="+strconv.Itoa(runtime.GOMAXPROCS(0)))
	// The race detector lets a process sleep for a second before it exits.
	cmd.Env = append(os.Environ(), childVariable+"="+string(given), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	// It ends with its stdin, but not while it is stopped.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c := &child{t: t, cmd: cmd, reports: make(chan report, 16)}
	cmd.Stderr = &c.output
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go c.run(started, stdout)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.cleanup)
	c.expect("ready")
	return c
}

// run starts the child and waits for it on one thread: Pdeathsig is sent when
// that thread ends.
func (c *child) run(started chan<- error, stdout io.Reader) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	var rest []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			c.reports <- r
		} else {
			rest = append(rest, lines.Text())
		}
	}
	c.err = c.cmd.Wait()
	c.output.WriteString(strings.Join(rest, "\n"))
	close(c.reports)
}

// order returns once the child is about to do it.
func (c *child) order(what string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.stdin, what); err != nil {
		c.t.Fatal(err)
	}
	c.expect("begun")
}

// expect is the child's next report, which must be of that event.
func (c *child) expect(event string) report {
	c.t.Helper()
	r := c.report(answerTime)
	if r.Event != event {
		c.t.Fatalf("the child said %+v instead of %q", r, event)
	}
	return r
}

func (c *child) report(within time.Duration) report {
	c.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case r, ok := <-c.reports:
		if ok {
			return r
		}
		c.t.Fatalf("the child ended: %v\n%s", c.err, c.output.String())
	case <-timer.C:
		c.t.Fatalf("the child said nothing for %v", within)
	}
	return report{}
}

func (c *child) lock() report {
	c.t.Helper()
	c.order("lock")
	return c.expect("locked")
}

// release returns the report of a release, which must have been confirmed.
func (c *child) release() report {
	c.t.Helper()
	c.order("release")
	r := c.expect("released")
	if r.Error != "" {
		c.t.Errorf("Release: %s", r.Error)
	}
	return r
}

// kill returns when the process is gone.
func (c *child) kill() {
	c.t.Helper()
	c.ending.Store(true)
	c.signal(syscall.SIGKILL)
	c.awaitEnd()
}

// stop returns when the process has really stopped: the signal is only under way
// when kill(2) returns.
func (c *child) stop() {
	c.t.Helper()
	c.signal(syscall.SIGSTOP)
	contract.Eventually(c.t, "the child to stop", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/stat")
		if err != nil {
			c.t.Fatal(err)
		}
		// The name before the state is in parentheses and may hold anything.
		_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
		return bytes.HasPrefix(rest, []byte("T"))
	})
}

func (c *child) resume() {
	c.t.Helper()
	c.signal(syscall.SIGCONT)
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%v: %v", s, err)
	}
}

// close ends the child in good order: its client is closed, which Redis has
// confirmed, and nothing has leaked.
func (c *child) close() {
	c.t.Helper()
	c.ending.Store(true)
	_ = c.stdin.Close()
	patience := time.AfterFunc(childPatience+10*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer patience.Stop()
	c.awaitEnd()
	if c.err != nil {
		c.t.Errorf("the child ended with %v:\n%s", c.err, c.output.String())
	}
}

// awaitEnd returns when the process was waited for. Reports that nobody asked
// for, such as of a wait that its end cut off, are dropped.
func (c *child) awaitEnd() {
	for range c.reports {
	}
}

func (c *child) cleanup() {
	_ = c.cmd.Process.Signal(syscall.SIGCONT) // where the test failed in between
	if c.ending.Load() {
		_ = c.cmd.Process.Kill()
		c.awaitEnd()
	} else {
		c.close()
	}
}

// backend is one real server and, in env, a client of this process.
func backend(t *testing.T) (e *contract.Env, probe holdfast.Locker) {
	t.Helper()
	s := testredis.Start(t)
	e = &contract.Env{Kind: kind, Addr: s.Addr(), Redis: s.Client(t), Real: s}
	return e, mutex.New(e.Client(t), lockName)
}

// settle returns when Redis has executed what reached it before. Replies are
// written after all that was there to be read in the same turn.
func settle(t *testing.T, rdb *redis.Client) {
	t.Helper()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// leaseEnd says between which times the lock ends in Redis, whose holder is
// dead or stopped and renews it no more. Redis counts milliseconds.
func leaseEnd(t *testing.T, rdb *redis.Client) (earliest, latest time.Duration) {
	t.Helper()
	settle(t, rdb) // a renewal may have been under way
	before := monotonic()
	left, err := rdb.PTTL(t.Context(), lockKey).Result()
	after := monotonic()
	if err != nil || left < 0 {
		t.Fatalf("the lock is not held: PTTL %v, %v", left, err)
	}
	return before + left - time.Millisecond, after + left + time.Millisecond
}

func awaitTime(t *testing.T, at time.Duration) {
	t.Helper()
	contract.Eventually(t, "the time to come", func() bool { return monotonic() > at })
}

// TestProcessesExclude lets eight processes contend. No two of them ever believe
// to hold the lock at once, each later holder has a higher token, no update of
// an unprotected register is lost, and each process gets its share.
func TestProcessesExclude(t *testing.T) {
	const processes = 8
	cycles := 20_000
	if os.Getenv(longVariable) != "" {
		cycles = 100_000
	}
	e, _ := backend(t)
	var children []*child
	for range processes {
		children = append(children, startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second}))
	}
	for _, c := range children {
		c.order("cycle " + strconv.Itoa(cycles))
	}
	var all []report
	var shares []int
	for _, c := range children {
		mine := c.cycles()
		c.close()
		all = append(all, mine...)
		shares = append(shares, len(mine)-1) // with the last one it saw that the register is full
	}

	slices.SortFunc(all, func(a, b report) int { return cmp.Compare(a.At, b.At) })
	for i := 1; i < len(all); i++ {
		before, after := all[i-1], all[i]
		if after.At <= before.Until {
			t.Fatalf("two holders at once: from %v to %v and from %v", before.At, before.Until, after.At)
		}
		if after.Token <= before.Token {
			t.Fatalf("token %d after %d", after.Token, before.Token)
		}
	}
	total, squares := 0, 0
	for _, share := range shares {
		total += share
		squares += share * share
		if share < cycles/processes/2 {
			t.Errorf("a process got %d of %d cycles", share, cycles)
		}
	}
	if n, err := e.Redis.Get(t.Context(), registerKey).Int(); err != nil || n != total || n != cycles {
		t.Errorf("the register is %d after %d additions (%v)", n, total, err)
	}
	jain := float64(total) * float64(total) / (processes * float64(squares))
	if jain < 0.9 {
		t.Errorf("fairness by Jain's index: %.3f of %v", jain, shares)
	}
	took := all[len(all)-1].Until - all[0].At
	t.Logf("%d cycles in %v, %.0f/s; Jain's index %.4f", total, took, float64(total)/took.Seconds(), jain)
	e.Redis.Del(t.Context(), registerKey)
	e.NothingLeft(t)
}

// cycles is what the child did since it was ordered to "cycle".
func (c *child) cycles() []report {
	c.t.Helper()
	var cycles []report
	for {
		switch r := c.report(cycleTime); r.Event {
		case "cycle":
			cycles = append(cycles, r)
		case "done":
			return cycles
		default:
			c.t.Fatalf("the child said %+v", r)
		}
	}
}

// TestKilledHolderCostsItsTTL: whoever is next runs when the dead holder's lease
// ends in Redis, not earlier and hardly later, although it would not poll by
// itself for ten seconds.
func TestKilledHolderCostsItsTTL(t *testing.T) {
	const ttl = time.Second
	e, probe := backend(t)
	holder := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	next := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: time.Hour})
	before := holder.lock()
	next.order("lock")
	e.AwaitWaiters(t, probe, 1)
	last := ttl
	contract.Eventually(t, "the lease to be renewed", func() bool {
		left := e.Redis.PTTL(t.Context(), lockKey).Val()
		renewed := left > last
		last = left
		return renewed
	})

	holder.kill()
	killed := monotonic()
	earliest, _ := leaseEnd(t, e.Redis)
	after := next.expect("locked")
	if after.At < earliest {
		t.Errorf("the next holder ran %v before the lease of the dead one could end", earliest-after.At)
	}
	if d := after.At - killed; d > ttl+slack {
		t.Errorf("the next holder ran %v after the death of the one before, whose TTL was %v", d, ttl)
	}
	if after.Token <= before.Token {
		t.Errorf("token %d after %d", after.Token, before.Token)
	}
	t.Logf("the next holder ran %v after the death, %v after the lease's end", after.At-killed, after.At-earliest)
	next.release()
	e.NothingLeft(t)
}

// TestKilledWaiterIsSkipped: once it no longer counts as alive, the one behind
// it gets the lock in the release itself.
func TestKilledWaiterIsSkipped(t *testing.T) {
	e, probe := backend(t)
	holder := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second})
	first := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: 3 * time.Second, Every: 20 * time.Millisecond})
	second := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: time.Hour})
	holder.lock()
	first.order("lock")
	e.AwaitWaiters(t, probe, 1)
	second.order("lock")
	e.AwaitWaiters(t, probe, 2)

	first.kill()
	settle(t, e.Redis) // its last poll
	awaitTime(t, monotonic()+minLiveness+2*time.Millisecond)
	released := holder.release()
	after := second.expect("locked")
	if d := after.At - released.At; d < 0 || d > slack {
		t.Errorf("the one behind the dead waiter ran %v after the release", d)
	}
	t.Logf("the one behind the dead waiter ran %v after the release", after.At-released.At)
	second.release()
	e.NothingLeft(t)
}

// TestKilledHolderAndWaiter is the worst that deaths of two cost: the waiter
// still counts as alive when the holder's lease ends, so it is granted the lock
// and never takes it. The third then waits for the TTL of each.
func TestKilledHolderAndWaiter(t *testing.T) {
	const (
		ttl      = 400 * time.Millisecond // of the holder
		dead     = 2 * ttl                // TTL of the waiter
		interval = dead / 3               // between its polls: the longest that its TTL allows
		liveness = 3 * interval           // so it lives on beyond the holder's lease
		third    = 20 * time.Millisecond  // between polls of the third
	)
	e, probe := backend(t)
	holder := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	waiter := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: dead, Every: time.Hour})
	last := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: third})
	holder.lock()
	waiter.order("lock")
	e.AwaitWaiters(t, probe, 1)
	last.order("lock")
	e.AwaitWaiters(t, probe, 2)

	holder.kill()
	killed := monotonic()
	waiter.kill()
	earliest, latest := leaseEnd(t, e.Redis)
	after := last.expect("locked")
	if after.At < earliest+dead {
		t.Errorf("the third ran %v after the holder's lease could end: the dead waiter, alive for Redis, was passed over or robbed",
			after.At-earliest)
	}
	if d := after.At - killed; d > ttl+dead+liveness+third {
		t.Errorf("the third ran after %v, more than both TTLs, the liveness and an interval", d)
	}
	// What it comes to: the third's own polls find the free lock, and then the
	// end of the dead waiter's grant.
	if d := after.At - latest; d > third+dead+slack {
		t.Errorf("the third ran %v after the holder's lease ended", d)
	}
	t.Logf("the third ran %v after the deaths", after.At-killed)
	last.release()
	e.NothingLeft(t)
}

// TestStoppedHolderKnowsAtOnce stops a holder beyond its lease. When it goes on,
// the first look at the lease must say that it is lost: it looks all the time,
// and no timer or goroutine of the process may be needed for it. Its late release
// does nothing to the holder that came after it.
func TestStoppedHolderKnowsAtOnce(t *testing.T) {
	const rounds, ttl = 10, 300 * time.Millisecond
	e, probe := backend(t)
	holder := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	next := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: time.Hour})
	for round := range rounds {
		before := holder.lock()
		next.order("lock")
		e.AwaitWaiters(t, probe, 1)
		holder.order([]string{"watch err", "watch context"}[round%2])

		holder.stop()
		earliest, latest := leaseEnd(t, e.Redis)
		after := next.expect("locked")
		if after.At < earliest || after.Token <= before.Token {
			t.Errorf("a lease until %v with token %d, then one from %v with token %d",
				earliest, before.Token, after.At, after.Token)
		}
		holder.resume()
		over := holder.expect("over")
		if !over.Lost {
			t.Errorf("the stopped holder was told %q, not that its lease is lost", over.Error)
		}
		if over.At > latest {
			t.Errorf("the lease was held for its first holder %v after its end in Redis, %v after the next holder ran",
				over.At-latest, over.At-after.At)
		}

		holder.order("release")
		if r := holder.expect("released"); !r.Lost {
			t.Errorf("the release of a lost lease said %q", r.Error)
		}
		if round == rounds-1 {
			holder.close() // when it returns, all that it had to send is answered
		}
		next.order("renew")
		if r := next.expect("renewed"); r.Error != "" {
			t.Errorf("the next holder was harmed: %s", r.Error)
		}
		next.release()
	}
	e.NothingLeft(t)
}

// TestStoppedUnderWay stops a process while the answer of Redis to it is under
// way. A lease must be counted from when its command was sent: the process reads
// the answer when half of the lease is over.
func TestStoppedUnderWay(t *testing.T) {
	const ttl = 600 * time.Millisecond
	for _, command := range []string{"lock", "renew"} {
		t.Run(command, func(t *testing.T) {
			e, _ := backend(t)
			c := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: ttl, WithoutRenewal: true})
			warmUp(c)
			for range 20 {
				if stoppedUnderWay(t, e, c, command, ttl) {
					return
				}
			}
			t.Error("the stop never came between the command and its answer")
		})
	}
}

// warmUp loads the scripts, so that a command is one trip.
func warmUp(c *child) {
	c.lock()
	c.order("renew")
	c.expect("renewed")
	c.release()
}

// stoppedUnderWay makes one attempt. It is not done if the command was not sent
// before the process stopped, or the machine was too slow.
func stoppedUnderWay(t *testing.T, e *contract.Env, c *child, command string, ttl time.Duration) (done bool) {
	t.Helper()
	answer := "locked"
	if command == "renew" {
		c.lock()
		answer = "renewed"
		// So far that a renewal shows.
		contract.Eventually(t, "a third of the lease to pass", func() bool {
			return e.Redis.PTTL(t.Context(), lockKey).Val() < 2*ttl/3
		})
	}
	e.Real.Pause()
	c.order(command)
	awaitTime(t, monotonic()+5*time.Millisecond) // so that it is likely to be sent
	c.stop()
	e.Real.Resume()
	settle(t, e.Redis)
	if e.Redis.PTTL(t.Context(), lockKey).Val() < 3*ttl/4 {
		c.resume()
		c.expect(answer)
		c.order("release")
		c.expect("released")
		return false
	}
	earliest, latest := leaseEnd(t, e.Redis)
	owner := e.Redis.Get(t.Context(), lockKey).Val()
	awaitTime(t, earliest-ttl/2)
	c.resume()
	r := c.expect(answer)
	if r.Error != "" || command == "lock" && !strings.HasPrefix(owner, r.ID+" ") {
		c.order("release") // its lease was over when it read the answer
		c.expect("released")
		return false
	}
	c.order("watch err")
	over := c.expect("over")
	if !over.Lost {
		t.Errorf("the lease ended with %q", over.Error)
	}
	if over.At > latest {
		t.Errorf("the lease was held %v beyond its end in Redis", over.At-latest)
	}
	t.Logf("the last look that found the lease held was %v before its end in Redis", latest-over.At)
	return true
}

// TestStoppedWaiter stops a waiter before it is granted the lock. Its lease began
// with the release of the holder before it, not when it heard of that: it must
// not count from there.
func TestStoppedWaiter(t *testing.T) {
	const ttl = 900 * time.Millisecond // no poll is due before a third of it has passed
	e, probe := backend(t)
	c := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: ttl, Every: time.Hour, WithoutRenewal: true})
	for round := range 4 {
		lease := contract.Lock(t, probe)
		c.order("lock")
		e.AwaitWaiters(t, probe, 1)
		if round == 0 { // so that it listens to wake-ups
			contract.Release(t, lease)
			c.expect("locked")
			c.release()
			continue
		}
		c.stop()
		contract.Release(t, lease)
		earliest, _ := leaseEnd(t, e.Redis)
		awaitTime(t, earliest-4*ttl/5)
		c.resume()
		c.expect("locked")
		// If the process was slow it had to ask, and its lease began anew.
		_, latest := leaseEnd(t, e.Redis)
		c.order("watch err")
		over := c.expect("over")
		if over.At > latest {
			t.Errorf("the lease was held %v beyond its end in Redis", over.At-latest)
		}
		t.Logf("the last look that found the lease held was %v before its end in Redis", latest-over.At)
	}
}

// TestStoppedPoll stops a waiter while the answer to its poll is under way, by
// which it took the lock that its holder had let expire. The lease counts from
// when the poll was sent.
func TestStoppedPoll(t *testing.T) {
	const (
		ttl    = 1800 * time.Millisecond // a poll may take a sixth of it
		before = 300 * time.Millisecond  // TTL of the holder before
		away   = ttl / 12
	)
	e, _ := backend(t)
	first := mutex.New(e.Client(t), lockName, holdfast.WithTTL(before), holdfast.WithoutRenewal())
	c := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: ttl, Every: time.Hour, WithoutRenewal: true})
	for range 20 {
		lease := contract.Lock(t, first)
		c.order("lock")
		e.AwaitWaiters(t, first, 1)
		_, due := leaseEnd(t, e.Redis)
		awaitTime(t, due-before/10)
		e.Real.Pause()
		awaitTime(t, due+20*time.Millisecond) // so that the poll is likely to be sent
		c.stop()
		if err := lease.Err(); !errors.Is(err, holdfast.ErrLost) {
			t.Fatalf("the lease of the holder before: %v", err)
		}
		e.Real.Resume()
		settle(t, e.Redis)
		if e.Redis.PTTL(t.Context(), lockKey).Val() < 3*ttl/4 { // it was not
			c.resume()
			c.expect("locked")
			c.release()
			continue
		}
		earliest, _ := leaseEnd(t, e.Redis)
		awaitTime(t, earliest-ttl+away)
		c.resume()
		c.expect("locked")
		// If the process was slow it asked again, and its lease began anew.
		_, latest := leaseEnd(t, e.Redis)
		c.order("watch err")
		over := c.expect("over")
		if over.At > latest {
			t.Errorf("the lease was held %v beyond its end in Redis", over.At-latest)
		}
		t.Logf("the last look that found the lease held was %v before its end in Redis", latest-over.At)
		return
	}
	t.Error("the stop never came between the poll and its answer")
}

// TestExitLeavesNothing ends a process by os.Exit while one of its goroutines
// holds the lock and three wait, all with places in Redis. After one TTL the
// lock is free for anybody at the first try.
func TestExitLeavesNothing(t *testing.T) {
	const ttl = time.Second
	e, probe := backend(t)
	c := startChild(t, settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	c.lock()
	c.order("crowd")
	e.AwaitWaiters(t, probe, 3)

	c.ending.Store(true)
	c.order("exit")
	c.awaitEnd()
	var ended *exec.ExitError
	if !errors.As(c.err, &ended) || ended.ExitCode() != exitCode {
		t.Fatalf("the child ended with %v:\n%s", c.err, c.output.String())
	}
	settle(t, e.Redis) // what it had sent
	awaitTime(t, monotonic()+ttl+2*time.Millisecond)
	lease, err := probe.TryLock(t.Context())
	if err != nil {
		t.Fatalf("the lock is not free %v after its holder's process ended: %v", ttl, err)
	}
	contract.Release(t, lease)
	e.NothingLeft(t)
	channels, err := e.Redis.PubSubChannels(t.Context(), "*").Result()
	if err != nil || len(channels) != 0 {
		t.Errorf("somebody still listens to %v, %v", channels, err)
	}
}
