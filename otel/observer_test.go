package holdfastotel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/locktest"
	"github.com/holdfast-go/holdfast/mutex"
	holdfastotel "github.com/holdfast-go/holdfast/otel"
	"github.com/holdfast-go/holdfast/reentrant"
	"github.com/holdfast-go/holdfast/rwlock"
	"github.com/holdfast-go/holdfast/semaphore"
)

// silence is for go-redis, which logs each dial that fails.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	m.Run()
}

// rig is an Observer whose metrics and spans stay in memory.
type rig struct {
	*holdfastotel.Observer
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	tracer *sdktrace.TracerProvider
}

func newRig(t *testing.T, opts ...holdfastotel.Option) *rig {
	t.Helper()
	r := &rig{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	r.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	o, err := holdfastotel.New(append([]holdfastotel.Option{
		holdfastotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))),
		holdfastotel.WithTracerProvider(r.tracer),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	r.Observer = o
	return r
}

func (r *rig) collect(t *testing.T) []metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.ScopeMetrics) == 0 {
		return nil
	}
	if len(all.ScopeMetrics) > 1 || all.ScopeMetrics[0].Scope.Name != "github.com/holdfast-go/holdfast/otel" {
		t.Fatalf("scopes %+v", all.ScopeMetrics)
	}
	return all.ScopeMetrics[0].Metrics
}

// counts is the value of each series, of a histogram its count; zeros are left out.
func (r *rig) counts(t *testing.T) map[string]int64 {
	t.Helper()
	counts := map[string]int64{}
	add := func(name string, set attribute.Set, value int64) {
		if value != 0 {
			counts[series(name, set)] = value
		}
	}
	for _, m := range r.collect(t) {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				add(m.Name, p.Attributes, p.Value)
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				add(m.Name, p.Attributes, int64(p.Count))
			}
		default:
			t.Fatalf("%s is a %T", m.Name, m.Data)
		}
	}
	return counts
}

// series is a metric with its attributes, in the order of their keys.
func series(name string, set attribute.Set) string {
	return name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}"
}

// sum is what a histogram has measured in all, over its series.
func (r *rig) sum(t *testing.T, name string) time.Duration {
	t.Helper()
	seconds := 0.0
	for _, m := range r.collect(t) {
		if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == name {
			for _, p := range h.DataPoints {
				seconds += p.Sum
			}
		}
	}
	return time.Duration(seconds * float64(time.Second))
}

func wantCounts(t *testing.T, r *rig, want map[string]int64) {
	t.Helper()
	if got := r.counts(t); !maps.Equal(got, want) {
		t.Errorf("measured\n%v\nnot\n%v", sorted(got), sorted(want))
	}
}

func sorted(m map[string]int64) (lines string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		lines += fmt.Sprintln(k, m[k])
	}
	return lines
}

// settle closes the client, which waits for what it has to tell.
func settle(t *testing.T, c *holdfast.Client) {
	t.Helper()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

// lock is what the tests need of each kind.
type lock interface {
	holdfast.Locker
	Inspect(ctx context.Context) (*holdfast.State, error)
}

// permits is a semaphore as a lock that takes all its permits.
type permits struct{ *semaphore.Semaphore }

const limit = 3

func (p permits) Lock(ctx context.Context) (*holdfast.Lease, error) { return p.Acquire(ctx, limit) }
func (p permits) TryLock(ctx context.Context) (*holdfast.Lease, error) {
	return p.TryAcquire(ctx, limit)
}

func (p permits) Do(ctx context.Context, fn func(context.Context) error) error {
	return p.Semaphore.Do(ctx, limit, fn)
}

var kinds = []struct {
	name   string
	make   func(c *holdfast.Client, name string, opts ...holdfast.Option) lock
	weight int64
}{
	{"mutex", func(c *holdfast.Client, name string, opts ...holdfast.Option) lock {
		return mutex.New(c, name, opts...)
	}, 1},
	{"reentrant", func(c *holdfast.Client, name string, opts ...holdfast.Option) lock {
		return reentrant.New(c, name, opts...)
	}, 1},
	{"rwlock", func(c *holdfast.Client, name string, opts ...holdfast.Option) lock {
		return rwlock.New(c, name, opts...)
	}, holdfast.All},
	{"semaphore", func(c *holdfast.Client, name string, opts ...holdfast.Option) lock {
		return permits{semaphore.New(c, name, limit, opts...)}
	}, limit},
}

func acquire(t *testing.T, l holdfast.Locker) *holdfast.Lease {
	t.Helper()
	lease, err := l.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func release(t *testing.T, lease *holdfast.Lease) {
	t.Helper()
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func waiters(t *testing.T, l lock, n int) {
	t.Helper()
	var s *holdfast.State
	var err error
	defer func() {
		if t.Failed() {
			t.Logf("%+v, %v", s, err)
		}
	}()
	eventually(t, "waiters", func() bool {
		s, err = l.Inspect(t.Context())
		return err == nil && s.WaiterCount == n
	})
}

// TestMetrics: what happens to a lock of each kind is measured, by kind.
func TestMetrics(t *testing.T) {
	t.Parallel()
	const waited, held = 60 * time.Millisecond, 80 * time.Millisecond
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			server := locktest.NewServer(t)
			c := server.Client(holdfast.WithObserver(r))
			l, theirs := k.make(c, "seen"), k.make(server.Client(), "seen")

			first := acquire(t, l) // at once
			if err := first.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			second := acquire(t, k.make(c, "another"))
			eventually(t, "two held", func() bool {
				return r.counts(t)["holdfast.lease.count{holdfast.kind="+k.name+"}"] == 2
			})
			time.Sleep(held)
			release(t, second)
			release(t, first)

			foreign := acquire(t, theirs)
			if _, err := l.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
				t.Fatal(err)
			}
			if _, err := k.make(c, "seen", holdfast.WithMaxWait(500*time.Millisecond)).Lock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
				t.Fatal(err)
			}
			waiters(t, theirs, 0)
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan error, 1)
			go func() {
				_, err := l.Lock(ctx)
				gone <- err
			}()
			waiters(t, theirs, 1)
			cancel()
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			waiters(t, theirs, 0)
			got := make(chan *holdfast.Lease, 1)
			go func() {
				lease, err := l.Lock(t.Context())
				if err != nil {
					t.Error(err)
				}
				got <- lease
			}()
			waiters(t, theirs, 1)
			time.Sleep(waited)
			release(t, foreign)
			server.Lose(<-got) // handed over, and lost

			going := acquire(t, k.make(c, "going"))
			ended := make(chan error, 1)
			go func() {
				_, err := k.make(c, "going").Lock(t.Context())
				ended <- err
			}()
			waiters(t, k.make(server.Client(), "going"), 1)
			settle(t, c) // which releases
			if err := <-ended; !errors.Is(err, holdfast.ErrClosed) {
				t.Error(err)
			}
			runtime.KeepAlive(going)

			kind := "holdfast.kind=" + k.name
			wantCounts(t, r, map[string]int64{
				"holdfast.wait.duration{holdfast.handed_over=false," + kind + ",holdfast.outcome=acquired}": 3,
				"holdfast.wait.duration{holdfast.handed_over=true," + kind + ",holdfast.outcome=acquired}":  1,
				"holdfast.wait.duration{" + kind + ",holdfast.outcome=busy}":                                2,
				"holdfast.wait.duration{" + kind + ",holdfast.outcome=cancelled}":                           1,
				"holdfast.wait.duration{" + kind + ",holdfast.outcome=closed}":                              1,
				"holdfast.hold.duration{holdfast.end=released," + kind + "}":                                3,
				"holdfast.hold.duration{holdfast.end=lost," + kind + "}":                                    1,
				"holdfast.lease.lost{" + kind + ",holdfast.reason=removed}":                                 1,
				"holdfast.lease.renewals{" + kind + "}":                                                     1,
			})
			if d := r.sum(t, "holdfast.wait.duration"); d < waited || d > time.Minute {
				t.Errorf("waited %v, not %v and more", d, waited)
			}
			if d := r.sum(t, "holdfast.hold.duration"); d < 2*held || d > time.Minute {
				t.Errorf("held %v, not %v and more", d, 2*held)
			}
		})
	}
}

var instruments = map[string]string{
	"holdfast.wait.duration":  "s histogram",
	"holdfast.hold.duration":  "s histogram",
	"holdfast.lease.count":    "{lease} up-down counter",
	"holdfast.lease.lost":     "{lease} counter",
	"holdfast.lease.renewals": "{renewal} counter",
	"holdfast.event.dropped":  "{event} counter",
}

// TestInstruments: the names, units and boundaries, which dashboards are built on.
func TestInstruments(t *testing.T) {
	r := newRig(t)
	for _, e := range []holdfast.Event{
		{Type: holdfast.EventAcquired, Kind: "mutex"},
		{Type: holdfast.EventRenewed, Kind: "mutex"},
		{Type: holdfast.EventReleased, Kind: "mutex"},
		{Type: "of a later version", Kind: "mutex", Dropped: 3},
	} {
		r.Observe(t.Context(), e)
	}
	got := map[string]string{}
	for _, m := range r.collect(t) {
		kind := "up-down counter"
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			if data.IsMonotonic {
				kind = "counter"
			}
		case metricdata.Histogram[float64]:
			kind = "histogram"
			bounds := data.DataPoints[0].Bounds
			if bounds[0] > 0.001 || bounds[len(bounds)-1] < 60 {
				t.Errorf("%s: %v do not reach from a round trip to a minute", m.Name, bounds)
			}
		}
		got[m.Name] = m.Unit + " " + kind
		if m.Description == "" {
			t.Errorf("%s has no description", m.Name)
		}
	}
	if !maps.Equal(got, instruments) {
		t.Errorf("%v, not %v", got, instruments)
	}
	if n := r.counts(t)["holdfast.event.dropped{}"]; n != 3 {
		t.Errorf("%d dropped, not 3", n)
	}
}

// TestLossBeginsAtZero: a counter that is first seen at 1 has no step for a rate.
func TestLossBeginsAtZero(t *testing.T) {
	r := newRig(t)
	r.Observe(t.Context(), holdfast.Event{Type: holdfast.EventAcquired, Kind: "mutex"})
	var got []string
	for _, m := range r.collect(t) {
		if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "holdfast.lease.lost" {
			for _, p := range data.DataPoints {
				got = append(got, fmt.Sprint(series("", p.Attributes), p.Value))
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"{holdfast.kind=mutex,holdfast.reason=expired}0", "{holdfast.kind=mutex,holdfast.reason=removed}0",
		"{holdfast.kind=mutex,holdfast.reason=taken}0", "{holdfast.kind=mutex,holdfast.reason=unreachable}0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestLockNames: they are on metrics only if asked for.
func TestLockNames(t *testing.T) {
	for _, named := range []bool{false, true} {
		var opts []holdfastotel.Option
		if named {
			opts = append(opts, holdfastotel.WithLockNames())
		}
		r := newRig(t, opts...)
		server := locktest.NewServer(t)
		c := server.Client(holdfast.WithObserver(r))
		m := mutex.New(c, "named")
		lease := acquire(t, m)
		_, _ = m.TryLock(t.Context())
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		release(t, lease)
		server.Lose(acquire(t, m))
		settle(t, c)
		points := 0
		for _, x := range r.collect(t) {
			var sets []attribute.Set
			switch data := x.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					sets = append(sets, p.Attributes)
				}
			}
			for _, set := range sets {
				points++
				v, has := set.Value("holdfast.name")
				if want := named && x.Name != "holdfast.event.dropped"; has != want || has && v.AsString() != "named" {
					t.Errorf("WithLockNames %v: %s", named, series(x.Name, set))
				}
			}
		}
		if points < 10 {
			t.Errorf("%d series", points)
		}
	}
}

// down is the address of a Redis that is not there.
func down(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func clientOf(t *testing.T, addr string, opts ...holdfast.Option) *holdfast.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second,
	})
	c, err := holdfast.New(rdb, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 100*time.Millisecond)
		defer cancel()
		_ = c.Close(ctx)
		_ = rdb.Close()
	})
	return c
}

// TestRedisIsDown: an attempt failed, whatever ended it, if Redis was the reason.
func TestRedisIsDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := clientOf(t, down(t), holdfast.WithObserver(r))
	m := mutex.New(c, "down")
	if _, err := m.TryLock(t.Context()); err == nil {
		t.Fatal("acquired")
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := m.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := mutex.New(c, "down", holdfast.WithMaxWait(100*time.Millisecond)).Lock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Fatal(err)
	}
	const failed = "holdfast.wait.duration{holdfast.kind=mutex,holdfast.outcome=failed}"
	eventually(t, "three told", func() bool { return len(r.spans.Ended()) == 3 })
	wantCounts(t, r, map[string]int64{failed: 3})
	for _, s := range r.spans.Ended() {
		if s.Status().Code.String() != "Error" || len(s.Events()) != 1 {
			t.Errorf("%s: status %v, events %v", s.Name(), s.Status(), s.Events())
		}
	}
}

// TestRefused: as is one that Redis will refuse for ever.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := locktest.NewServer(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	if err := rdb.LPush(t.Context(), "holdfast:mutex:list", "x").Err(); err != nil {
		t.Fatal(err)
	}
	c := server.Client(holdfast.WithObserver(r))
	m := mutex.New(c, "list")
	if lease, err := m.Lock(t.Context()); err == nil {
		t.Fatal("acquired", lease)
	}
	settle(t, c)
	wantCounts(t, r, map[string]int64{"holdfast.wait.duration{holdfast.kind=mutex,holdfast.outcome=failed}": 1})
}

// TestRedisDies: a release without an answer is no clean end, and a lease that
// ends because nobody answers is lost.
func TestRedisDies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := miniredis.RunT(t)
	c := clientOf(t, server.Addr(), holdfast.WithObserver(r))
	released := acquire(t, mutex.New(c, "released"))
	lost := acquire(t, mutex.New(c, "lost", holdfast.WithTTL(500*time.Millisecond)))
	server.Close()
	if err := released.Release(t.Context()); err == nil {
		t.Error("released")
	}
	<-lost.Done()
	want := map[string]int64{
		"holdfast.wait.duration{holdfast.handed_over=false,holdfast.kind=mutex,holdfast.outcome=acquired}": 2,
		"holdfast.hold.duration{holdfast.end=unconfirmed,holdfast.kind=mutex}":                             1,
		"holdfast.hold.duration{holdfast.end=lost,holdfast.kind=mutex}":                                    1,
		"holdfast.lease.lost{holdfast.kind=mutex,holdfast.reason=unreachable}":                             1,
	}
	renewals := "holdfast.lease.renewals{holdfast.kind=mutex}" // none, or one before Redis died
	settled := map[string]int64{}
	defer func() {
		if t.Failed() {
			t.Log(sorted(settled))
		}
	}()
	eventually(t, "all told", func() bool {
		settled = r.counts(t)
		delete(settled, renewals)
		return maps.Equal(settled, want)
	})
	for _, s := range r.spans.Ended() {
		if wrong := s.Name() == "holdfast.hold"; wrong != (s.Status().Code.String() == "Error") {
			t.Errorf("%s %v: status %v", s.Name(), s.Attributes(), s.Status())
		}
	}
}

// refusal is an error reply of Redis, as go-redis has it.
type refusal struct{ error }

func (refusal) RedisError() {}

// TestOutcomes: what a call came to is told from its error.
func TestOutcomes(t *testing.T) {
	held := &holdfast.HeldError{Name: "name"}
	both := func(a, b error) error { return fmt.Errorf("%w: %w", a, b) }
	for _, c := range []struct {
		err  error
		want string
	}{
		{held, "busy"},
		{both(held, context.Canceled), "cancelled"},
		{both(held, context.DeadlineExceeded), "cancelled"},
		{both(held, both(context.Canceled, errors.New("the caller's cause"))), "cancelled"},
		{both(both(held, context.DeadlineExceeded), refusal{errors.New("LOADING")}), "failed"},
		{both(context.Canceled, &net.OpError{Op: "dial", Err: errors.New("refused")}), "failed"},
		{both(context.Canceled, io.EOF), "failed"},
		{both(both(held, context.Canceled), &holdfast.ReplicasError{Wanted: 1}), "failed"},
		{both(held, errors.New("anything else")), "failed"},
		{fmt.Errorf("name: %w", holdfast.ErrClosed), "closed"},
	} {
		r := newRig(t)
		r.Observe(t.Context(), holdfast.Event{Type: holdfast.EventNotAcquired, Kind: "mutex", Err: c.err})
		if want := "holdfast.wait.duration{holdfast.kind=mutex,holdfast.outcome=" + c.want + "}"; r.counts(t)[want] != 1 {
			t.Errorf("%v: %v", c.err, r.counts(t))
		}
	}
}

// TestSeveralClients share an Observer.
func TestSeveralClients(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := locktest.NewServer(t)
	const clients, cycles = 4, 25
	var all sync.WaitGroup
	for range clients {
		c := server.Client(holdfast.WithObserver(r))
		all.Go(func() {
			for range cycles {
				if err := mutex.New(c, "shared").Do(t.Context(), func(context.Context) error { return nil }); err != nil {
					t.Error(err)
				}
			}
			settle(t, c)
		})
	}
	all.Wait()
	n := int64(0)
	for series, count := range r.counts(t) {
		if series != "holdfast.hold.duration{holdfast.end=released,holdfast.kind=mutex}" {
			n += count
		}
	}
	if n != clients*cycles { // acquired, handed over or not; none held, none lost
		t.Errorf("%v", r.counts(t))
	}
}

// TestGlobalProviders are the default.
func TestGlobalProviders(t *testing.T) {
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	meters, tracers := otel.GetMeterProvider(), otel.GetTracerProvider()
	defer otel.SetMeterProvider(meters)
	defer otel.SetTracerProvider(tracers)
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	o, err := holdfastotel.New()
	if err != nil {
		t.Fatal(err)
	}
	o.Observe(t.Context(), holdfast.Event{Type: holdfast.EventAcquired, Kind: "mutex"})
	r := &rig{Observer: o, reader: reader}
	if len(r.counts(t)) != 2 || len(spans.Ended()) != 1 {
		t.Errorf("%v, %v", r.counts(t), spans.Ended())
	}
}

func TestWrongOptions(t *testing.T) {
	for name, opt := range map[string]holdfastotel.Option{
		"a nil Option":            nil,
		"WithMeterProvider(nil)":  holdfastotel.WithMeterProvider(nil),
		"WithTracerProvider(nil)": holdfastotel.WithTracerProvider(nil),
	} {
		o, err := holdfastotel.New(opt, holdfastotel.WithLockNames())
		if o != nil || !errors.Is(err, holdfast.ErrInvalid) || err.Error() != "holdfast: invalid: holdfastotel: "+name {
			t.Errorf("%s: %v, %v", name, o, err)
		}
	}
}

// brokenMeters makes every instrument but one.
type brokenMeters struct {
	metricnoop.MeterProvider
	broken string
}

func (m brokenMeters) Meter(string, ...metric.MeterOption) metric.Meter {
	return brokenMeter{broken: m.broken}
}

type brokenMeter struct {
	metricnoop.Meter
	broken string
}

var errMeter = errors.New("no room")

func (m brokenMeter) err(name string) error {
	if name == m.broken {
		return errMeter
	}
	return nil
}

func (m brokenMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return metricnoop.Float64Histogram{}, m.err(name)
}

func (m brokenMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return metricnoop.Int64Counter{}, m.err(name)
}

func (m brokenMeter) Int64UpDownCounter(name string, _ ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	return metricnoop.Int64UpDownCounter{}, m.err(name)
}

func TestBrokenMeter(t *testing.T) {
	for name := range instruments {
		o, err := holdfastotel.New(holdfastotel.WithMeterProvider(brokenMeters{broken: name}))
		if o != nil || !errors.Is(err, errMeter) {
			t.Errorf("without %s: %v, %v", name, o, err)
		}
	}
}

func TestZeroObserver(t *testing.T) {
	for _, o := range []*holdfastotel.Observer{{}, nil} {
		o.Observe(t.Context(), holdfast.Event{Type: holdfast.EventAcquired, Dropped: 1}) // no panic
	}
}

var event = holdfast.Event{
	Type: holdfast.EventAcquired, Kind: "mutex", Name: "name", ID: "id", Weight: 1, Token: 7, Wait: time.Second,
}

func noop(tb testing.TB) *holdfastotel.Observer {
	tb.Helper()
	return observer(tb, metricnoop.NewMeterProvider(), tracenoop.NewTracerProvider())
}

func observer(tb testing.TB, m metric.MeterProvider, t trace.TracerProvider) *holdfastotel.Observer {
	tb.Helper()
	o, err := holdfastotel.New(holdfastotel.WithMeterProvider(m), holdfastotel.WithTracerProvider(t))
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

func BenchmarkObserve(b *testing.B) {
	event := event
	event.Time = time.Now()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	for name, o := range map[string]*holdfastotel.Observer{
		"noop":      noop(b),
		"unsampled": observer(b, meters, sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))),
		"sampled":   observer(b, meters, sdktrace.NewTracerProvider()),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				o.Observe(b.Context(), event)
			}
		})
	}
}
