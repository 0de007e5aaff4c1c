package holdfast

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v4"
)

// Limits of the options.
const (
	minTTL  = 10 * time.Millisecond
	maxTTL  = 365 * 24 * time.Hour
	maxText = 256 // bytes of WithHolder, and of an owner
	noLimit = -1  // of maxWait
)

// Option sets one property of a lock, or of every lock of a client: what is
// given to New is the default, what is given to a lock overrides it. A wrong
// value is reported by New, or by the first call of the lock, as an error that
// Is [ErrInvalid].
type Option func(*builder)

// settings is what the options come to.
type settings struct {
	ttl     time.Duration
	renew   bool
	maxWait time.Duration   // noLimit: none
	maxHold time.Duration   // 0: none
	minHold time.Duration   // 0: none
	backOff *func() BackOff // the same one only if it is the same Option
	holder  string

	replicas       int // 0: they do not matter
	replicaTimeout time.Duration
	readTimeout    time.Duration // of the go-redis client; 0: none; or noWait

	redisson bool // the lock is Redisson's, too

	prefix    string
	log       *slog.Logger
	observers []Observer
}

// builder is what an Option works on.
type builder struct {
	settings
	lock bool  // for one lock: New-only options are refused
	err  error // the first wrong value
}

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

func (b *builder) newOnly(option string) bool {
	if b.lock {
		b.fail("%s is for New, not for a lock", option)
	}
	return !b.lock
}

// BackOff says how long to wait before the next poll. It is what
// github.com/cenkalti/backoff calls a BackOff, in v4 and v5.
type BackOff interface {
	NextBackOff() time.Duration
	Reset()
}

// WithTTL sets for how long Redis keeps the lock after its holder was last
// heard of: how long the others wait when a holder dies. It is renewed at a
// third of that time. Whole milliseconds, from 10 ms to 365 days. Defaults to 30 s.
func WithTTL(d time.Duration) Option {
	return func(b *builder) {
		switch {
		case d < minTTL || d > maxTTL:
			b.fail("WithTTL(%v): not between %v and %v", d, minTTL, maxTTL)
		case d%time.Millisecond != 0:
			b.fail("WithTTL(%v): Redis counts whole milliseconds", d)
		}
		b.ttl = d
	}
}

// WithoutRenewal makes leases end at their TTL unless Renew is called.
// Defaults to renewal.
func WithoutRenewal() Option {
	return func(b *builder) { b.renew = false }
}

// WithMaxWait makes Lock, RLock, Acquire and every Do stop waiting after d with
// a [HeldError]; 0 means at once, as TryLock. The context then bounds the work,
// not the wait. Defaults to no limit.
func WithMaxWait(d time.Duration) Option {
	return func(b *builder) {
		if d < 0 {
			b.fail("WithMaxWait(%v): negative", d)
		}
		b.maxWait = d
	}
}

// WithMaxHold stops renewing a lease d after it was acquired, so that a stuck
// holder frees the lock between d and d + TTL; the lease is then lost, with
// reason "expired". Renew is refused after d, too. 0 means no limit, the default.
func WithMaxHold(d time.Duration) Option {
	return func(b *builder) {
		if d < 0 {
			b.fail("WithMaxHold(%v): negative", d)
		}
		b.maxHold = d
	}
}

// WithMinHold keeps what was acquired, the lock or some permits, taken until d
// after that even if it is released, or its client closed, earlier; then the next
// waiter gets it. So a job runs at most once per d over many machines. It is no
// promise beyond a crash: a holder that dies frees the lock at its TTL. Whole
// milliseconds. 0 means that a release frees the lock, the default.
func WithMinHold(d time.Duration) Option {
	return func(b *builder) {
		switch {
		case d < 0 || d > maxTTL:
			b.fail("WithMinHold(%v): not between 0 and %v", d, maxTTL)
		case d%time.Millisecond != 0:
			b.fail("WithMinHold(%v): Redis counts whole milliseconds", d)
		}
		b.minHold = d
	}
}

// WithBackOff sets how often a waiter asks again although nobody woke it: a
// safety net, since the release of a lock wakes the next waiter itself. f makes
// a fresh BackOff for each wait. An interval is at least 5 ms and at most a
// third of the TTL; when the BackOff stops, the last interval stays. f and its
// BackOff are called by New of the lock and by the goroutine that waits. Defaults
// to an exponential one that begins around half a second.
//
// Make the Option once, and give the same one to each New of a lock: goroutines
// pass a mutex on only where their options are the same, and two calls of
// WithBackOff are two options.
func WithBackOff(f func() BackOff) Option {
	return func(b *builder) {
		if f == nil {
			b.fail("WithBackOff(nil)")
		}
		b.backOff = &f
	}
}

// WithReplicas makes an acquire count only once n replicas have it, within timeout
// (Redis's WAIT), and a renewal too: so a failover to one of them knows the lock.
// Short of that the lock is given back; TryLock returns a [ReplicasError], Lock
// tries on. It makes a lock survive more failovers, not all: which replica is
// promoted is Redis's choice, see docs/operations.md. It costs a round trip for
// each acquire. timeout is in whole milliseconds, and shorter than half the TTL
// and than the read timeout of the go-redis client. Defaults to no replicas.
func WithReplicas(n int, timeout time.Duration) Option {
	return func(b *builder) {
		switch {
		case n < 1:
			b.fail("WithReplicas(%d, %v): at least one replica", n, timeout)
		case timeout < time.Millisecond || timeout%time.Millisecond != 0:
			b.fail("WithReplicas(%d, %v): the timeout is not in whole milliseconds of at least one", n, timeout)
		}
		b.replicas, b.replicaTimeout = n, timeout
	}
}

// WithPrefix begins the key of every lock of a client: prefix, kind, ":", name.
// With "" the key is the name alone, as other libraries for SET NX PX write it,
// and the lock excludes theirs. For New only. Defaults to "holdfast:".
func WithPrefix(p string) Option {
	return func(b *builder) {
		if b.newOnly("WithPrefix") {
			b.prefix = p
		}
	}
}

// WithHolder says who holds, in the errors of those who wait: a text for
// people, of at most 256 bytes. Defaults to host:pid.
func WithHolder(s string) Option {
	return func(b *builder) {
		if !isText(s) {
			b.fail("WithHolder(%.64q): not a text of 1 to %d bytes without control characters", s, maxText)
		}
		b.holder = s
	}
}

// WithLogger sets where the client reports what no call returns: with level WARN
// a lease that was lost, leaked or released without an answer, and what Redis
// refuses to the whole client; with DEBUG, if the logger is enabled for it when
// New is called, every [Event] but the loss. The keys are kind, name, weight, id,
// token, wait, handed_over, held, reason, error, and in single records panic,
// channels and dropped; texts and keys stay as they are within a major version.
// Records are written by a goroutine of their own: a handler that blocks holds up
// nothing but later records, of which those beyond 256 (WARN) and 4096 (DEBUG) are
// dropped and counted; one that panics loses its record. For New only. Defaults to
// silence.
func WithLogger(l *slog.Logger) Option {
	return func(b *builder) {
		if l == nil {
			b.fail("WithLogger(nil)")
		}
		if b.newOnly("WithLogger") {
			b.log = l
		}
	}
}

// WithObserver adds one that is told what becomes of the client's locks; given
// several times, each is told. It is called by a goroutine of its own, one event
// after the other: one that blocks holds up nothing but later events, of which
// those beyond 4096 are dropped and counted in Event.Dropped, and Close, which
// waits for it until its ctx ends; one that panics loses its event, and the panic
// is logged. Without one, nothing is spent on events. For New only.
func WithObserver(o Observer) Option {
	return func(b *builder) {
		if o == nil {
			b.fail("WithObserver(nil)")
		}
		if b.newOnly("WithObserver") {
			b.observers = append(slices.Clip(b.observers), o)
		}
	}
}

func defaults() settings {
	return settings{
		ttl:     30 * time.Second,
		renew:   true,
		maxWait: noLimit,
		holder:  defaultHolder(),
		prefix:  "holdfast:",
		log:     slog.New(slog.DiscardHandler),
	}
}

// with applies options on top of s, for a client or for one lock. The error is a
// reason, for an error that Is ErrInvalid.
func (s settings) with(lock bool, opts []Option) (settings, error) {
	b := builder{settings: s, lock: lock}
	for _, o := range opts {
		if o == nil {
			b.fail("a nil Option")
			continue
		}
		o(&b)
	}
	if b.err == nil {
		b.pairs()
	}
	return b.settings, b.err
}

// pairs checks the options that can contradict each other.
func (b *builder) pairs() {
	switch {
	case b.maxHold > 0 && b.minHold > b.maxHold:
		b.fail("WithMinHold(%v) is longer than WithMaxHold(%v)", b.minHold, b.maxHold)
	case !b.renew && b.minHold > b.ttl:
		b.fail("WithMinHold(%v) is longer than WithTTL(%v), and WithoutRenewal lets the lease end there", b.minHold, b.ttl)
	case 2*b.replicaTimeout >= b.ttl:
		b.fail("WithReplicas(%d, %v): the timeout is not shorter than half of WithTTL(%v)", b.replicas, b.replicaTimeout, b.ttl)
	case b.replicas > 0 && b.readTimeout == noWait:
		b.fail("WithReplicas(%d, %v): only on a *redis.Client or a *redis.ClusterClient", b.replicas, b.replicaTimeout)
	case b.readTimeout > 0 && b.replicaTimeout >= b.readTimeout:
		b.fail("WithReplicas(%d, %v): the timeout is not shorter than the go-redis client's ReadTimeout, %v",
			b.replicas, b.replicaTimeout, b.readTimeout)
	}
}

// defaultBackOff begins around half a second, since every hand-over wakes its
// waiter: a poll only mends what was lost. It never stops; the TTL caps it.
var defaultBackOff = func() BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstInterval),
		backoff.WithMaxInterval(time.Hour),
		backoff.WithMaxElapsedTime(0),
	)
}

func defaultHolder() string {
	host, err := os.Hostname()
	if err != nil || !isText(host) || len(host) > maxText/2 {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// isText tells a text that people can read in one line, and that is not empty.
func isText(s string) bool {
	if s == "" || len(s) > maxText {
		return false
	}
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return false
		}
	}
	return true
}
