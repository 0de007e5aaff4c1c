package holdfastotel_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/locktest"
	"github.com/holdfast-go/holdfast/mutex"
	holdfastotel "github.com/holdfast-go/holdfast/otel"
)

func attributes(s sdktrace.ReadOnlySpan) map[string]any {
	all := map[string]any{}
	for _, a := range s.Attributes() {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

func wantAttributes(t *testing.T, s sdktrace.ReadOnlySpan, want map[string]any) {
	t.Helper()
	if got := attributes(s); !maps.Equal(got, want) {
		t.Errorf("%s has %v, not %v", s.Name(), got, want)
	}
}

// ended is the spans of the rig that are of locks, once the client has told all.
func (r *rig) ended(t *testing.T, c *holdfast.Client, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	settle(t, c)
	var mine []sdktrace.ReadOnlySpan
	for _, s := range r.spans.Ended() {
		if s.InstrumentationScope().Name == "github.com/holdfast-go/holdfast/otel" {
			mine = append(mine, s)
		}
	}
	if len(mine) != n {
		t.Fatalf("%d spans, not %d: %v", len(mine), n, mine)
	}
	return mine
}

// recorded is the text of the only error that was recorded on the span.
func recorded(t *testing.T, s sdktrace.ReadOnlySpan) string {
	t.Helper()
	if len(s.Events()) != 1 || s.Events()[0].Name != "exception" || !s.Events()[0].Time.Equal(s.EndTime()) {
		t.Fatalf("%s: events %v", s.Name(), s.Events())
	}
	for _, a := range s.Events()[0].Attributes {
		if a.Key == "exception.message" {
			return a.Value.AsString()
		}
	}
	return ""
}

// TestSpans: of each kind a wait and a hold, below the span that asked, with the
// times that they took.
func TestSpans(t *testing.T) {
	t.Parallel()
	const waits, holds = 60 * time.Millisecond, 90 * time.Millisecond
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			server := locktest.NewServer(t)
			c := server.Client(holdfast.WithObserver(r))
			theirs := k.make(server.Client(), "spanned")
			foreign := acquire(t, theirs)

			ctx, parent := r.tracer.Tracer("test").Start(t.Context(), "parent")
			got := make(chan *holdfast.Lease, 1)
			go func() {
				lease, err := k.make(c, "spanned").Lock(ctx)
				if err != nil {
					t.Error(err)
				}
				got <- lease
			}()
			waiters(t, theirs, 1)
			time.Sleep(waits)
			before := time.Now()
			release(t, foreign)
			lease := <-got
			parent.End() // before the hold
			time.Sleep(holds)
			release(t, lease)
			after := time.Now()

			spans := r.ended(t, c, 2)
			wait, hold := spans[0], spans[1]
			if wait.Name() != "holdfast.wait" || hold.Name() != "holdfast.hold" {
				t.Fatalf("%s, %s", wait.Name(), hold.Name())
			}
			for _, s := range spans {
				if s.Parent().SpanID() != parent.SpanContext().SpanID() ||
					s.SpanContext().TraceID() != parent.SpanContext().TraceID() {
					t.Errorf("%s is no child of who asked", s.Name())
				}
				if s.Status().Code != codes.Unset || len(s.Events()) > 0 {
					t.Errorf("%s: status %v, events %v", s.Name(), s.Status(), s.Events())
				}
			}
			wantAttributes(t, wait, map[string]any{
				"holdfast.kind": k.name, "holdfast.name": "spanned", "holdfast.weight": k.weight,
				"holdfast.id": lease.ID(), "holdfast.token": lease.Token(),
				"holdfast.outcome": "acquired", "holdfast.handed_over": true,
			})
			wantAttributes(t, hold, map[string]any{
				"holdfast.kind": k.name, "holdfast.name": "spanned", "holdfast.weight": k.weight,
				"holdfast.id": lease.ID(), "holdfast.token": lease.Token(), "holdfast.end": "released",
			})
			asked := r.spans.Started()[0].StartTime() // the parent's
			if d := wait.EndTime().Sub(wait.StartTime()); d < waits ||
				wait.StartTime().Before(asked) || wait.StartTime().After(before) || wait.EndTime().Before(before) {
				t.Errorf("waited from %v to %v; asked at %v, released at %v", wait.StartTime(), wait.EndTime(), asked, before)
			}
			if d := hold.EndTime().Sub(hold.StartTime()); d < holds || d > after.Sub(before) ||
				hold.StartTime().Before(before) || hold.EndTime().Before(wait.EndTime()) || hold.EndTime().After(after) {
				t.Errorf("held from %v to %v; acquired after %v, released before %v", hold.StartTime(), hold.EndTime(), before, after)
			}
		})
	}
}

// TestSpansOfErrors: what came to nothing and what was lost say why; "busy" is no
// failure.
func TestSpansOfErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := locktest.NewServer(t)
	c := server.Client(holdfast.WithObserver(r))
	theirs := mutex.New(server.Client(holdfast.WithHolder("they")), "wrong")
	foreign := acquire(t, theirs)

	_, busy := mutex.New(c, "wrong").TryLock(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := mutex.New(c, "wrong").Lock(ctx)
		gone <- err
	}()
	waiters(t, theirs, 1)
	cancel()
	cancelled := <-gone
	release(t, foreign)
	lease := acquire(t, mutex.New(c, "forced"))
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	eventually(t, "its client to listen", func() bool {
		return len(rdb.PubSubChannels(t.Context(), "holdfast:inbox:*").Val()) > 0
	})
	if err := mutex.New(server.Client(), "forced").ForceRelease(t.Context(), lease.ID()); err != nil {
		t.Fatal(err)
	}
	<-lease.Done()

	spans := r.ended(t, c, 4)
	for i, want := range []struct {
		name, attribute, value string
		status                 codes.Code
		err                    error
	}{
		{"holdfast.wait", "holdfast.outcome", "busy", codes.Unset, busy},
		{"holdfast.wait", "holdfast.outcome", "cancelled", codes.Error, cancelled},
		{"holdfast.wait", "holdfast.outcome", "acquired", codes.Unset, nil},
		{"holdfast.hold", "holdfast.end", "lost", codes.Error, lease.Err()},
	} {
		s := spans[i]
		if s.Name() != want.name || attributes(s)[want.attribute] != want.value || s.Status().Code != want.status {
			t.Errorf("%s %v: %v", s.Name(), attributes(s), s.Status())
			continue
		}
		if want.err == nil {
			continue
		}
		if text := recorded(t, s); text != want.err.Error() || want.status == codes.Error && s.Status().Description != text {
			t.Errorf("%s: recorded %q, status %v, not %q", s.Name(), text, s.Status(), want.err)
		}
	}
	if !errors.Is(cancelled, context.Canceled) {
		t.Error(cancelled)
	}
	wantAttributes(t, spans[0], map[string]any{ // no lease, so neither id nor token
		"holdfast.kind": "mutex", "holdfast.name": "wrong", "holdfast.weight": int64(1), "holdfast.outcome": "busy",
	})
	if got := attributes(spans[3])["holdfast.reason"]; got != "taken" {
		t.Errorf("reason %v", got)
	}
}

// TestRootSpans: without a span in the context they are roots.
func TestRootSpans(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := locktest.NewClient(t, holdfast.WithObserver(r))
	release(t, acquire(t, mutex.New(c, "root")))
	for _, s := range r.ended(t, c, 2) {
		if s.Parent().IsValid() {
			t.Errorf("%s has a parent", s.Name())
		}
	}
}

// choosy keeps the spans of one lock: a sampler can know its name.
type choosy struct{ sdktrace.Sampler }

func (s choosy) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, a := range p.Attributes {
		if a.Key == "holdfast.name" && a.Value.AsString() == "kept" {
			return sdktrace.AlwaysSample().ShouldSample(p)
		}
	}
	return sdktrace.NeverSample().ShouldSample(p)
}

// TestSampling: what is not sampled is measured all the same.
func TestSampling(t *testing.T) {
	t.Parallel()
	reader, kept := sdkmetric.NewManualReader(), newRig(t)
	o, err := holdfastotel.New(
		holdfastotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))),
		holdfastotel.WithTracerProvider(sdktrace.NewTracerProvider(
			sdktrace.WithSampler(choosy{sdktrace.NeverSample()}), sdktrace.WithSpanProcessor(kept.spans))),
	)
	if err != nil {
		t.Fatal(err)
	}
	c := locktest.NewClient(t, holdfast.WithObserver(o))
	release(t, acquire(t, mutex.New(c, "left")))
	release(t, acquire(t, mutex.New(c, "kept")))
	for _, s := range kept.ended(t, c, 2) {
		if attributes(s)["holdfast.name"] != "kept" {
			t.Errorf("%v", attributes(s))
		}
	}
	r := &rig{reader: reader}
	if n := r.counts(t)["holdfast.hold.duration{holdfast.end=released,holdfast.kind=mutex}"]; n != 2 {
		t.Errorf("%d holds, not 2", n)
	}
}

// TestNothingCostsLittle: where nobody measures or traces, an event allocates
// less than its spans' attributes would.
func TestNothingCostsLittle(t *testing.T) {
	o := noop(t)
	event := event
	event.Time = time.Now()
	if n := testing.AllocsPerRun(1000, func() { o.Observe(t.Context(), event) }); n > 15 {
		t.Errorf("%v allocations for an event", n)
	}
}
