package holdfastotel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast"
)

// scope is the name of the meter and of the tracer.
const scope = "github.com/holdfast-go/holdfast/otel"

// The attributes. The package documentation says what they mean.
const (
	keyKind    = attribute.Key("holdfast.kind")
	keyName    = attribute.Key("holdfast.name")
	keyWeight  = attribute.Key("holdfast.weight")
	keyID      = attribute.Key("holdfast.id")
	keyToken   = attribute.Key("holdfast.token")
	keyHanded  = attribute.Key("holdfast.handed_over")
	keyOutcome = attribute.Key("holdfast.outcome")
	keyEnd     = attribute.Key("holdfast.end")
	keyReason  = attribute.Key("holdfast.reason")
)

// Values of holdfast.outcome.
const (
	acquired  = "acquired"
	busy      = "busy"
	cancelled = "cancelled"
	closed    = "closed"
	failed    = "failed"
)

// Values of holdfast.end.
const (
	released    = "released"
	unconfirmed = "unconfirmed"
	lost        = "lost"
)

// Boundaries of the histograms, in seconds: a lock that is free takes one round
// trip, a wait as long as others hold; a hold is from one command to hours of a job.
var (
	waitBounds = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}
	holdBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
)

var reasons = []holdfast.LostReason{
	holdfast.LostExpired, holdfast.LostUnreachable, holdfast.LostTaken, holdfast.LostRemoved,
}

// Option sets one property of an [Observer].
type Option func(*config)

type config struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
	names   bool
	err     error // the first wrong value
}

func (c *config) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: holdfastotel: %s", holdfast.ErrInvalid, what)
	}
}

// WithMeterProvider sets where the metrics go. Defaults to the global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(c *config) {
		if p == nil {
			c.fail("WithMeterProvider(nil)")
		}
		c.meters = p
	}
}

// WithTracerProvider sets where the spans go. Defaults to the global provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(c *config) {
		if p == nil {
			c.fail("WithTracerProvider(nil)")
		}
		c.tracers = p
	}
}

// WithLockNames puts the name of the lock on the metrics, too, but for
// holdfast.event.dropped. Only for programs with few names: each makes a hundred
// series or so, and names that have the number of an invoice in them fill the
// memory of whatever collects them. Spans have the name in any case. Defaults to
// no names.
func WithLockNames() Option {
	return func(c *config) { c.names = true }
}

// Observer makes metrics and spans of the events of a client, or of several. Make
// it with New; the zero Observer does nothing. Safe for concurrent use.
type Observer struct {
	tracer trace.Tracer
	names  bool

	wait, hold        metric.Float64Histogram
	leases            metric.Int64UpDownCounter
	losses            metric.Int64Counter
	renewals, dropped metric.Int64Counter

	mu    sync.Mutex
	known map[labels]metric.MeasurementOption // unless names
}

var _ holdfast.Observer = (*Observer)(nil)

// New makes an Observer, for holdfast.WithObserver. The error Is
// holdfast.ErrInvalid, for an option that is nil, or the meter's.
func New(opts ...Option) (*Observer, error) {
	c := config{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, o := range opts {
		if o == nil {
			c.fail("a nil Option")
			continue
		}
		o(&c)
	}
	if c.err != nil {
		return nil, c.err
	}
	m := c.meters.Meter(scope)
	o := &Observer{tracer: c.tracers.Tracer(scope), names: c.names, known: map[labels]metric.MeasurementOption{}}
	var errs [6]error
	o.wait, errs[0] = m.Float64Histogram("holdfast.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from asking for a lock to having it, or to giving up."),
		metric.WithExplicitBucketBoundaries(waitBounds...))
	o.hold, errs[1] = m.Float64Histogram("holdfast.hold.duration", metric.WithUnit("s"),
		metric.WithDescription("Time for which a lease was held."),
		metric.WithExplicitBucketBoundaries(holdBounds...))
	o.leases, errs[2] = m.Int64UpDownCounter("holdfast.lease.count", metric.WithUnit("{lease}"),
		metric.WithDescription("Leases that are held now."))
	o.losses, errs[3] = m.Int64Counter("holdfast.lease.lost", metric.WithUnit("{lease}"),
		metric.WithDescription("Leases that ended without being released."))
	o.renewals, errs[4] = m.Int64Counter("holdfast.lease.renewals", metric.WithUnit("{renewal}"),
		metric.WithDescription("Renewals that Redis confirmed."))
	o.dropped, errs[5] = m.Int64Counter("holdfast.event.dropped", metric.WithUnit("{event}"),
		metric.WithDescription("Events that the Observer was too slow for: they are missing from the other metrics."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("holdfastotel: %w", err)
	}
	return o, nil
}

// Observe is called by the client.
func (o *Observer) Observe(ctx context.Context, e holdfast.Event) {
	if o == nil || o.tracer == nil {
		return
	}
	o.dropped.Add(ctx, int64(e.Dropped))
	switch e.Type {
	case holdfast.EventAcquired:
		o.leases.Add(ctx, 1, o.measured(e, labels{}))
		for _, r := range reasons { // a series that begins with 1 hides its first loss
			o.losses.Add(ctx, 0, o.measured(e, labels{reason: r}))
		}
		o.waited(ctx, e, labels{outcome: acquired, handed: e.HandedOver})
	case holdfast.EventNotAcquired:
		o.waited(ctx, e, labels{outcome: outcome(e.Err)})
	case holdfast.EventRenewed:
		o.renewals.Add(ctx, 1, o.measured(e, labels{}))
	case holdfast.EventReleased:
		l := labels{end: released}
		if e.Err != nil {
			l.end = unconfirmed
		}
		o.held(ctx, e, l)
	case holdfast.EventLost:
		l := labels{end: lost, reason: reasonOf(e.Err)}
		o.losses.Add(ctx, 1, o.measured(e, labels{reason: l.reason}))
		o.held(ctx, e, l)
	}
}

func (o *Observer) waited(ctx context.Context, e holdfast.Event, l labels) {
	o.wait.Record(ctx, e.Wait.Seconds(), o.measured(e, l))
	o.span(ctx, "holdfast.wait", e, e.Wait, l)
}

func (o *Observer) held(ctx context.Context, e holdfast.Event, l labels) {
	o.leases.Add(ctx, -1, o.measured(e, labels{}))
	o.hold.Record(ctx, e.Held.Seconds(), o.measured(e, labels{end: l.end}))
	o.span(ctx, "holdfast.hold", e, e.Held, l)
}

// span makes the span of what took that long and is over. A sampler sees the kind
// and the name; the rest costs something only where it is kept.
func (o *Observer) span(ctx context.Context, name string, e holdfast.Event, took time.Duration, l labels) {
	_, s := o.tracer.Start(ctx, name, trace.WithTimestamp(e.Time.Add(-took)),
		trace.WithAttributes(keyKind.String(e.Kind), keyName.String(e.Name)))
	defer s.End(trace.WithTimestamp(e.Time))
	if !s.IsRecording() {
		return
	}
	s.SetAttributes(keyWeight.Int64(e.Weight))
	if e.ID != "" {
		s.SetAttributes(keyID.String(e.ID), keyToken.Int64(e.Token))
	}
	s.SetAttributes(l.attributes()...)
	if e.Err != nil {
		s.RecordError(e.Err, trace.WithTimestamp(e.Time))
		if l.outcome != busy {
			s.SetStatus(codes.Error, e.Err.Error())
		}
	}
}

// labels is what sets the series of a kind of lock apart; "" is left out.
type labels struct {
	kind, outcome, end string
	reason             holdfast.LostReason
	handed             bool // if acquired
}

func (l labels) attributes() []attribute.KeyValue {
	var all []attribute.KeyValue
	if l.outcome != "" {
		all = append(all, keyOutcome.String(l.outcome))
	}
	if l.outcome == acquired {
		all = append(all, keyHanded.Bool(l.handed))
	}
	if l.end != "" {
		all = append(all, keyEnd.String(l.end))
	}
	if l.reason != "" {
		all = append(all, keyReason.String(string(l.reason)))
	}
	return all
}

// measured is the attributes of a measurement. Without names there are few, and
// they are kept.
func (o *Observer) measured(e holdfast.Event, l labels) metric.MeasurementOption {
	l.kind = e.Kind
	if o.names {
		return withAttributes(append(l.attributes(), keyKind.String(l.kind), keyName.String(e.Name)))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	option, ok := o.known[l]
	if !ok {
		option = withAttributes(append(l.attributes(), keyKind.String(l.kind)))
		o.known[l] = option
	}
	return option
}

func withAttributes(all []attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(all...))
}

// outcome says why nothing was acquired.
func outcome(err error) string {
	_, held := err.(*holdfast.HeldError) //nolint:errorlint // one that wraps more was not the only reason
	switch {
	case held:
		return busy
	case errors.Is(err, holdfast.ErrClosed):
		return closed
	case ofRedis(err):
		return failed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return cancelled
	}
	return failed
}

// ofRedis tells an error with one of Redis in it, of its replicas, or of the way
// there: the last failure, beside the end of a context, of a wait that Redis did not
// answer.
func ofRedis(err error) bool {
	var reply interface {
		error
		RedisError()
	}
	var network *net.OpError
	var replicas *holdfast.ReplicasError
	return errors.As(err, &reply) || errors.As(err, &network) || errors.As(err, &replicas) || errors.Is(err, io.EOF)
}

func reasonOf(err error) holdfast.LostReason {
	var l *holdfast.LostError
	if errors.As(err, &l) {
		return l.Reason
	}
	return ""
}
