package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/mutex"
)

// A throng of goroutines in two clients wants a few mutexes, as impatient as people
// are, while answers are late, lost and refused. In a torture test they are few in
// each process; here is what many can do to each other.
const (
	throngLocks  = 3
	throngOfEach = 8 // goroutines
)

// weather is under what a throng locks.
type weather struct {
	ttl     time.Duration
	cancel  time.Duration // of waits that end early, most end before this
	trouble bool          // Redis is late, refuses, or is not heard
	loss    bool          // keys are deleted: then two may hold, and tokens may be old for a moment
}

func TestThrong(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]weather{
		"calm":    {ttl: 6 * time.Second, cancel: 300 * time.Microsecond},
		"trouble": {ttl: 250 * time.Millisecond, cancel: 4 * time.Millisecond, trouble: true},
		"loss":    {ttl: 250 * time.Millisecond, cancel: 4 * time.Millisecond, trouble: true, loss: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract.Real(t, kind, func(t *testing.T, e *contract.Env) { newThrong(t, e, w).run() })
		})
	}
}

type throng struct {
	weather
	t       *testing.T
	env     *contract.Env
	calls   troubled
	over    atomic.Bool
	leases  atomic.Int64
	passed  atomic.Int64
	diary   diary
	insides [throngLocks]inside
}

func newThrong(t *testing.T, e *contract.Env, w weather) *throng {
	t.Helper()
	return &throng{weather: w, t: t, env: e, diary: diary{events: map[string]*[2]int{}}}
}

func (c *throng) run() {
	var members sync.WaitGroup
	var locks [throngLocks][]*mutex.Mutex
	for i := range 2 {
		client, rdb := contract.Connect(c.t, &redis.Options{Addr: c.env.Addr, ContextTimeoutEnabled: true, PoolSize: 50},
			holdfast.WithTTL(c.ttl), holdfast.WithObserver(&c.diary))
		rdb.AddHook(&c.calls)
		for l := range locks {
			name := fmt.Sprint("throng", l)
			locks[l] = append(locks[l], mutex.New(client, name), mutex.New(client, name))
			if i == 0 { // on other terms, so in a lane of its own
				locks[l] = append(locks[l], mutex.New(client, name, holdfast.WithHolder("another")))
			}
		}
	}
	c.calls.on.Store(c.trouble)
	for l := range locks {
		for g := range throngOfEach {
			members.Go(func() { c.member(locks[l][g%len(locks[l])], &c.insides[l]) })
		}
	}
	c.wait()
	c.over.Store(true)
	members.Wait()
	c.calls.on.Store(false)
	c.atRest(locks[0][0], locks[1][0], locks[2][0])
	c.t.Logf("%d leases, %d of them passed on", c.leases.Load(), c.passed.Load())
	if c.passed.Load() == 0 {
		c.t.Error("nothing was passed on")
	}
}

// wait lets the throng be for a while, and loses keys if that is wanted.
func (c *throng) wait() {
	end := time.Now().Add(3 * time.Second)
	if os.Getenv(longVariable) != "" {
		end = end.Add(time.Minute)
	}
	for time.Now().Before(end) {
		time.Sleep(rand.N(100 * time.Millisecond))
		if !c.loss {
			continue
		}
		key := fmt.Sprint("holdfast:mutex:throng", rand.IntN(throngLocks))
		switch rand.IntN(4) {
		case 0:
			c.env.Redis.FlushAll(c.t.Context())
		case 1:
			c.env.Redis.Del(c.t.Context(), "holdfast:q:{"+key+"}"+key)
		default:
			c.env.Redis.Del(c.t.Context(), key)
		}
	}
}

// member locks again and again, and now and then does not wait to the end.
func (c *throng) member(m *mutex.Mutex, in *inside) {
	for !c.over.Load() {
		lease := c.acquire(m)
		if lease == nil {
			continue
		}
		c.leases.Add(1)
		if passed(lease) {
			c.passed.Add(1)
		}
		if err := in.enter(lease); err != nil && !c.loss {
			c.t.Error(err)
		}
		switch n := rand.IntN(200); {
		case n == 0:
			time.Sleep(rand.N(500 * time.Millisecond))
		case n < 20:
			time.Sleep(rand.N(5 * time.Millisecond))
		}
		in.leave(lease)
		_ = lease.Release(c.t.Context()) // what it says, the suites look at
		if lease.Err() == nil {
			c.t.Error("a lease is not over after its release")
		}
		if rand.IntN(10) == 0 {
			time.Sleep(rand.N(20 * time.Millisecond))
		}
	}
}

// acquire returns nil if the wait was cut short, or a try was refused.
func (c *throng) acquire(m *mutex.Mutex) *holdfast.Lease {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second) // nobody sleeps for so long
	defer cancel()
	patient, lock := false, m.Lock
	switch rand.IntN(8) {
	case 0, 1:
		defer time.AfterFunc(rand.N(c.cancel), cancel).Stop()
	case 2:
		defer time.AfterFunc(rand.N(400*time.Millisecond), cancel).Stop()
	case 3:
		short, end := context.WithTimeout(ctx, time.Microsecond+rand.N(20*time.Millisecond))
		defer end()
		ctx = short
	case 4:
		lock = m.TryLock
	default:
		patient = true
	}
	began := time.Now()
	lease, err := lock(ctx)
	if d := time.Since(began); d > 9*time.Second {
		c.t.Errorf("%s: %v after %v", m.Name(), err, d)
	} else if err != nil && patient {
		c.t.Errorf("%s: %v", m.Name(), err)
	}
	return lease
}

// atRest: nobody holds, nobody waits, nothing is left, and each lease began and
// ended once.
func (c *throng) atRest(locks ...*mutex.Mutex) {
	c.t.Helper()
	for _, m := range locks {
		contract.Eventually(c.t, "rest", func() bool {
			s, err := m.Inspect(c.t.Context())
			return err == nil && s.HolderCount+s.WaiterCount == 0
		})
	}
	c.env.NothingLeft(c.t)
	contract.Eventually(c.t, "the events", c.diary.closed)
}

// inside is who holds one of the locks, as far as leases say.
type inside struct {
	mu    sync.Mutex
	lease *holdfast.Lease
	token int64
}

func (in *inside) enter(l *holdfast.Lease) (err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	before := in.lease
	if before != nil && before.Err() == nil && l.Err() == nil && before.Err() == nil {
		err = fmt.Errorf("%s and %s hold at once", before.ID(), l.ID())
	}
	if l.Token() <= in.token {
		err = errors.Join(err, fmt.Errorf("%s has the token %d, after %d", l.ID(), l.Token(), in.token))
	}
	in.lease, in.token = l, max(in.token, l.Token())
	return err
}

func (in *inside) leave(l *holdfast.Lease) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.lease == l {
		in.lease = nil
	}
}

// diary has how often each lease began and ended.
type diary struct {
	mu      sync.Mutex
	events  map[string]*[2]int
	dropped int
}

func (d *diary) Observe(_ context.Context, e holdfast.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropped += e.Dropped
	if e.ID == "" {
		return
	}
	n := d.events[e.ID]
	if n == nil {
		n = new([2]int)
		d.events[e.ID] = n
	}
	switch e.Type {
	case holdfast.EventAcquired:
		n[0]++
	case holdfast.EventLost, holdfast.EventReleased:
		n[1]++
	case holdfast.EventNotAcquired, holdfast.EventRenewed:
	}
}

// closed tells whether each began and ended once, unless some events were dropped.
func (d *diary) closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.events {
		if d.dropped == 0 && *n != [2]int{1, 1} {
			return false
		}
	}
	return true
}

// troubled is a connection on which one call in thirty goes wrong.
type troubled struct{ on atomic.Bool }

var errReset = errors.New("connection reset by the test")

type loading struct{}

func (loading) Error() string { return "LOADING Redis is loading the dataset in memory" }
func (loading) RedisError()   {}

// call does what next does, or fails it, or both.
func (h *troubled) call(next func() error, fail func(error)) error {
	if !h.on.Load() {
		return next()
	}
	switch rand.IntN(150) {
	case 0:
		fail(loading{})
		return loading{}
	case 1: // done, and its answer lost
		_ = next()
		fail(errReset)
		return errReset
	case 2:
		fail(errReset)
		return errReset
	case 3: // done, and its answer late
		defer time.Sleep(rand.N(300 * time.Millisecond))
	case 4:
		time.Sleep(rand.N(30 * time.Millisecond))
	}
	return next()
}

func (h *troubled) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *troubled) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.call(func() error { return next(ctx, cmd) }, cmd.SetErr)
	}
}

func (h *troubled) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.call(func() error { return next(ctx, cmds) }, func(err error) {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		})
	}
}
