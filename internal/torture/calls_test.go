//go:build linux

package torture_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/mutex"
)

// calling is the order to call a mutex, and to report each call before it is made
// and after it returned. The mutex is another one after each page of time, by a
// clock that all processes have in common: what is searched for an order must not
// be long.
type calling struct {
	Goroutines int
	Page       time.Duration
	TTL        time.Duration // of leases that are renewed; of the others a quarter
	Early      time.Duration // one wait in eight ends early, after this at most
	Seed       uint64
}

// The events of calling, beside "quiet".
const (
	eventCalled   = "called"
	eventReturned = "returned"
	eventQuiet    = "quiet" // as history says it
)

// The kinds of calls and what comes of them.
const (
	kindLock    = "Lock"
	kindTry     = "TryLock"
	kindRelease = "Release"

	outcomeOK      = "ok"
	outcomeBusy    = "busy"   // somebody holds it
	outcomeQueued  = "queued" // only the queue is in the way: says nothing about holders
	outcomeLost    = "lost"
	outcomeUnknown = "unknown"
)

// step is a call, before it is made or after it.
type step struct {
	Number  int // within the process; both steps of a call have the same
	Client  int // goroutine
	Kind    string
	Lock    string
	At      time.Duration
	Outcome string        `json:",omitempty"` // after it
	Token   int64         `json:",omitempty"` // what was acquired, or is released
	First   int64         `json:",omitempty"` // that of the hold which was passed on inside the process
	Until   time.Duration `json:",omitempty"` // its deadline
	Error   string        `json:",omitempty"`
}

// caller is one process at that.
type caller struct {
	*processtest.Worker
	calling
	halted <-chan struct{}
	number atomic.Int64
	client *holdfast.Client
}

func call(ctx context.Context, w *processtest.Worker, argument string, halted <-chan struct{}) {
	c := &caller{Worker: w, halted: halted}
	if err := json.Unmarshal([]byte(argument), &c.calling); err != nil {
		panic(err)
	}
	client, err := holdfast.New(w.Redis)
	if err != nil {
		panic(err)
	}
	c.client = client
	var all sync.WaitGroup
	for i := range c.Goroutines {
		random := rand.New(rand.NewPCG(c.Seed, uint64(i)))
		all.Go(func() {
			for !c.over() && ctx.Err() == nil {
				c.turn(ctx, i, random)
			}
		})
	}
	all.Wait()
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	if err := client.Close(closing); err != nil {
		w.Say(processtest.Report{Event: "not closed", Error: err.Error()})
	}
	w.Say(processtest.Report{Event: eventQuiet}.Carrying(struct{}{}))
}

func (c *caller) over() bool {
	select {
	case <-c.halted:
		return true
	default:
		return false
	}
}

// turn acquires and releases once, or tries to.
func (c *caller) turn(ctx context.Context, client int, random *rand.Rand) {
	pause(random, 15*time.Millisecond)
	name := fmt.Sprintf("page-%d", processtest.Monotonic()/c.Page)
	opts := []holdfast.Option{holdfast.WithTTL(c.TTL)}
	if random.IntN(4) == 0 {
		opts = []holdfast.Option{holdfast.WithTTL(c.TTL / 4), holdfast.WithoutRenewal()}
	}
	m := mutex.New(c.client, name, opts...)
	kind, acquire := kindLock, m.Lock
	if random.IntN(3) == 0 {
		kind, acquire = kindTry, m.TryLock
	}
	if kind == kindLock && random.IntN(8) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(c.Early))))
		defer cancel()
	}
	s := c.begin(step{Client: client, Kind: kind, Lock: name})
	lease, err := acquire(ctx)
	var held *holdfast.HeldError
	switch {
	case err == nil:
		s.Outcome, s.Token, s.Until = outcomeOK, lease.Token(), processtest.At(lease.Deadline())
		s.First = firstToken(lease)
	case kind == kindTry && errors.As(err, &held) && (held.Holder != "" || held.Remaining > 0):
		s.Outcome = outcomeBusy
	case kind == kindTry && errors.As(err, &held):
		s.Outcome = outcomeQueued
	case errors.Is(err, holdfast.ErrInvalid):
		panic(err)
	default: // it may have been granted when ctx ended
		s.Outcome = outcomeUnknown
	}
	c.end(s, err)
	if err != nil {
		return
	}
	switch random.IntN(12) {
	case 0:
		pause(random, c.TTL) // more than one in four leases last
	default:
		pause(random, 8*time.Millisecond)
	}
	s = c.begin(step{Client: client, Kind: kindRelease, Lock: name, Token: lease.Token(), Until: processtest.At(lease.Deadline())})
	err = lease.Release(ctx)
	switch {
	case err == nil:
		s.Outcome = outcomeOK
	case errors.Is(err, holdfast.ErrLost):
		s.Outcome = outcomeLost
	default:
		s.Outcome = outcomeUnknown
	}
	c.end(s, err)
}

// firstToken is the token of the hold that a lease is of: an ID says how often that
// was passed on, and each time the token is one more.
func firstToken(lease *holdfast.Lease) int64 {
	_, times, passed := strings.Cut(lease.ID(), ".")
	if !passed {
		return 0
	}
	n, err := strconv.ParseInt(times, 10, 64)
	if err != nil {
		panic(err)
	}
	return lease.Token() - n
}

func (c *caller) begin(s step) step {
	s.Number, s.At = int(c.number.Add(1)), processtest.Monotonic()
	c.Say(processtest.Report{Event: eventCalled}.Carrying(s))
	return s
}

func (c *caller) end(s step, err error) {
	s.At = processtest.Monotonic()
	if err != nil {
		s.Error = err.Error()
	}
	c.Say(processtest.Report{Event: eventReturned}.Carrying(s))
}

func pause(random *rand.Rand, most time.Duration) {
	timer := time.NewTimer(time.Duration(random.Int64N(int64(most))))
	<-timer.C
}
