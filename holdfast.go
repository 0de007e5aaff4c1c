package holdfast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/courier"
	"github.com/holdfast-go/holdfast/internal/inbox"
	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/lane"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// Client is what all locks of a process share: the connection pool of a
// go-redis client, one subscription for wake-ups, one watchdog. Make one per
// process and Redis. Safe for concurrent use.
type Client struct {
	rdb      driver
	origin   redis.UniversalClient // what rdb was made of
	id       string                // begins the id of each of its acquisitions
	defaults settings
	started  time.Time
	inbox    *inbox.Inbox
	dog      *watchdog.Watchdog
	reports  *courier.Courier[record]
	events   []*courier.Courier[observation] // one for each observer
	ended    context.Context                 //nolint:containedctx // the client's own: ends with background work
	stop     context.CancelFunc              // ends it

	listens atomic.Bool   // the subscription was there once
	closing chan struct{} // closed: refuse new calls, waiters give up
	mu      sync.Mutex
	closed  bool
	calls   int                                 // Lock and TryLock calls under way
	next    uint64                              // number of the next acquisition
	heard   map[string]map[*hold]struct{}       // who waits for what Redisson says, by channel
	holds   map[uint64]*hold                    // from before the first send until the release is answered
	lanes   lane.Table[laneKey, *hold, *tenure] // the goroutines of this process that want the same
	mute    atomic.Bool                         // wake-ups are refused, which was reported
	empty   chan struct{}                       // closed once closed, calls is 0 and holds is empty
}

// New makes a Client on a go-redis client: a single node, Sentinel (a failover
// client) or a Cluster. It does no I/O. The error Is [ErrInvalid] and names
// what is wrong: a nil client, a Ring, an option out of range.
//
// Set ContextTimeoutEnabled on the go-redis client if it has hooks or is a
// Cluster: a single-node client without it is used through a copy that shares
// its connections, heeds deadlines, and has no hooks; a Cluster client without
// it heeds only its own timeouts.
func New(rdb redis.UniversalClient, opts ...Option) (*Client, error) {
	d, err := driverOf(rdb)
	if err != nil {
		return nil, err
	}
	base := defaults()
	base.readTimeout = readTimeoutOf(rdb)
	s, err := base.with(false, opts)
	if err != nil {
		return nil, invalid("New: %w", err)
	}
	if s.backOff == nil {
		s.backOff = &defaultBackOff
	}
	// The life of background work is the client's, not that of any caller.
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // the root of what Close ends
	c := &Client{
		rdb:      d,
		origin:   rdb,
		id:       uuid.NewString(),
		defaults: s,
		started:  time.Now(),
		reports:  newReports(s.log),
		ended:    ctx,
		stop:     stop,
		closing:  make(chan struct{}),
		heard:    map[string]map[*hold]struct{}{},
		holds:    map[uint64]*hold{},
		empty:    make(chan struct{}),
	}
	c.events = c.observers(s)
	c.dog = watchdog.New(ctx, func(ctx context.Context, calls []*lua.Call) { lua.DoAll(ctx, d, calls) }, nodeOf(d))
	c.inbox = inbox.New(d, inbox.Config{
		Channel:    keys.Inbox(c.id),
		Message:    c.woken,
		Subscribed: c.subscribed,
		Other:      c.said,
		Refused: func(err error) {
			c.warn("Redis refuses SUBSCRIBE: waiters are not woken and poll instead", keyError, err)
		},
	})
	return c, nil
}

// Close releases every lease that is still held, ends every wait with
// [ErrClosed], and stops and joins every goroutine of the client. The go-redis
// client stays open. New calls fail with ErrClosed from the start.
//
// Unlike [Lease.Release], Close needs a ctx that lasts: with one that has ended
// nothing is sure to be given back. It blocks until Redis has confirmed each
// release, or the TTL of what it has not confirmed is over.
//
// When ctx ends first, Close returns an error that Is ctx.Err() and says what
// Redis has not confirmed; those locks free themselves at their TTL, and the
// goroutines end within the timeouts of the go-redis client. Calling Close
// again then waits for the goroutines. Safe for concurrent use.
func (c *Client) Close(ctx context.Context) error {
	if c == nil || c.rdb == nil {
		return invalid("Close of a nil or zero Client")
	}
	if ctx == nil {
		return invalid("Close: the context is nil")
	}
	for _, h := range c.shut() {
		h.close()
	}
	var unconfirmed []string
	select {
	case <-c.empty:
	case <-c.ended.Done(): // an earlier Close gave up: only goroutines are left
	case <-ctx.Done():
		unconfirmed = c.unconfirmed()
	}
	c.stop()
	err := errors.Join(c.dog.Close(ctx), c.inbox.Close(ctx))
	for _, courier := range c.events { // what they are told is told by what has ended now
		err = errors.Join(err, courier.Close(ctx))
	}
	err = errors.Join(err, c.reports.Close(ctx))
	if len(unconfirmed) > 0 {
		return fmt.Errorf("holdfast: close: not confirmed by Redis: %s: %w", strings.Join(unconfirmed, ", "), ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("holdfast: close: goroutines still under way: %w", ctx.Err())
	}
	return nil
}

// shut refuses new calls and returns the holds there are.
func (c *Client) shut() []*hold {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.closing)
		c.checkEmpty()
	}
	all := make([]*hold, 0, len(c.holds))
	for _, h := range c.holds {
		all = append(all, h)
	}
	return all
}

func (c *Client) unconfirmed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, h := range c.holds {
		if len(names) == 10 {
			return append(names, fmt.Sprintf("and %d more", len(c.holds)-10))
		}
		names = append(names, strconv.Quote(h.core.name))
	}
	if len(names) == 0 && c.calls > 0 {
		names = append(names, fmt.Sprintf("%d calls under way", c.calls))
	}
	return names
}

func (c *Client) checkEmpty() {
	if c.closed && c.calls == 0 && len(c.holds) == 0 {
		select {
		case <-c.empty:
		default:
			close(c.empty)
		}
	}
}

// begin counts a call that may acquire; end must follow.
func (c *Client) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.calls++
	return nil
}

func (c *Client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls--
	c.checkEmpty()
}

// register enters a new acquisition before anything is sent for it: its
// wake-up can overtake the reply to its own acquire. Without an owner, an
// acquisition of a kind that has one is its own.
func (c *Client) register(k *Core, owner string, i *inquiry) *hold {
	h := k.newHold(c)
	h.inquiry = i
	c.enter(h)
	if k.kind.Owned {
		h.owner = cmp.Or(owner, h.id)
		h.request = k.requestFor(h.owner)
	}
	return h
}

func (k *Core) newHold(c *Client) *hold {
	h := &hold{client: c, core: k, request: k.request, heavier: none, interval: k.interval}
	h.first.hold = h
	h.tenure = &h.first
	h.entry.Task = h
	return h
}

// enter puts a hold in the table, under a number and an id of its own.
func (c *Client) enter(h *hold) {
	c.mu.Lock()
	c.next++
	h.number = c.next
	c.holds[h.number] = h
	c.mu.Unlock()
	h.id = c.id + ":" + strconv.FormatUint(h.number, 10)
}

// replace puts another hold of the same number in the table.
func (c *Client) replace(h *hold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds[h.number] = h
}

// forget removes an acquisition of which nothing is left in Redis.
func (c *Client) forget(h *hold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.holds, h.number)
	c.checkEmpty()
}

// woken handles one message of the inbox. It runs on the inbox's goroutine and
// does no I/O.
func (c *Client) woken(payload string) {
	for w := range lua.WakeUps(payload) {
		c.wake(w)
	}
}

func (c *Client) wake(w lua.WakeUp) {
	rest, ok := strings.CutPrefix(w.ID, c.id+":")
	number, err := strconv.ParseUint(rest, 10, 64)
	if !ok || err != nil {
		return
	}
	c.mu.Lock()
	h := c.holds[number]
	c.mu.Unlock()
	// An id that is not there was released or left, and Redis confirmed it, or
	// its TTL is over: nothing is held under it. One whose leave is still
	// unanswered is there.
	if h == nil {
		return
	}
	h.woken(w)
	if w.More {
		c.pumpLater(h.core)
	}
}

// subscribed lets every waiter poll once: what was published before the
// subscription was there, or while it was cut, is lost. What is held when it comes
// for the first time is renewed as well: it may have been taken away before its
// holder could be told.
func (c *Client) subscribed() {
	first := !c.listens.Swap(true)
	c.mu.Lock()
	all := make([]*hold, 0, len(c.holds))
	for _, h := range c.holds {
		all = append(all, h)
	}
	c.mu.Unlock()
	spread := time.Duration(0)
	if len(all) > 1 {
		spread = resubscribeSpread / time.Duration(len(all))
	}
	for i, h := range all {
		h.pollSoon(spread * time.Duration(i))
		if first {
			h.renewSoon(spread * time.Duration(i))
		}
	}
}

// muted reports, once, that wake-ups cannot be published.
func (c *Client) muted() {
	if !c.mute.Swap(true) {
		c.warn("Redis refuses PUBLISH to this user: waiters are not woken and poll instead",
			"channels", keys.Inbox("*"))
	}
}
