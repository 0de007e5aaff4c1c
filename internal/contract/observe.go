package contract

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
)

// witness keeps what it is told.
type witness struct {
	mu     sync.Mutex
	events []holdfast.Event
	values []any // of witnessKey
}

type witnessKey struct{}

func (w *witness) Observe(ctx context.Context, e holdfast.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	w.values = append(w.values, ctx.Value(witnessKey{}))
}

// of waits for n events of the lock, and returns them.
func (w *witness) of(t *testing.T, name string, n int) []holdfast.Event {
	t.Helper()
	var mine []holdfast.Event
	Eventually(t, "events", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		mine = nil
		for _, e := range w.events {
			if e.Name == name {
				mine = append(mine, e)
			}
		}
		return len(mine) >= n
	})
	return mine
}

func types(events []holdfast.Event) []holdfast.EventType {
	var all []holdfast.EventType
	for _, e := range events {
		all = append(all, e.Type)
	}
	return all
}

// observerIsTold: of every acquisition, how long it waited, how it ended.
func observerIsTold(t *testing.T, e *Env) {
	w := &witness{}
	c := e.Client(t, holdfast.WithObserver(w))
	began := time.Now()

	other := Lock(t, e.New(e.Client(t), "told"))
	l := e.New(c, "told")
	if _, err := l.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Fatal(err)
	}
	waiting := Go(t.Context(), l)
	e.AwaitWaiters(t, e.New(e.Client(t), "told"), 1)
	Release(t, other)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := r.Lease.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	Release(t, r.Lease)
	_ = r.Lease.Release(t.Context()) // a second time: no event
	got := w.of(t, "told", 4)
	want := []holdfast.EventType{
		holdfast.EventNotAcquired, holdfast.EventAcquired, holdfast.EventRenewed, holdfast.EventReleased,
	}
	if !slices.Equal(types(got), want) {
		t.Fatalf("told %q, not %q", types(got), want)
	}
	for _, x := range got {
		if x.Kind != e.Name || x.Weight < 1 || x.Time.Before(began) || x.Time.After(time.Now()) || x.Dropped != 0 {
			t.Errorf("%+v", x)
		}
		if lease := x.Type != holdfast.EventNotAcquired; lease != (x.ID == r.Lease.ID() && x.Token == r.Lease.Token()) {
			t.Errorf("%s has lease %q, token %d", x.Type, x.ID, x.Token)
		}
	}
	if !errors.Is(got[0].Err, holdfast.ErrNotAcquired) || got[0].Wait <= 0 {
		t.Errorf("not acquired: %+v", got[0])
	}
	if !got[1].HandedOver || got[1].Wait <= 0 || got[1].Err != nil {
		t.Errorf("acquired: %+v", got[1])
	}
	if got[3].Held <= 0 || got[3].Held < got[2].Held || got[3].Err != nil {
		t.Errorf("renewed %+v, released %+v", got[2], got[3])
	}

	free := Lock(t, e.New(c, "free"))
	if err := e.Redis.Del(t.Context(), e.lockKey(t, free)).Err(); err != nil {
		t.Fatal(err)
	}
	_ = free.Renew(t.Context()) // finds out
	got = w.of(t, "free", 2)
	if want := []holdfast.EventType{holdfast.EventAcquired, holdfast.EventLost}; !slices.Equal(types(got), want) {
		t.Fatalf("told %q, not %q", types(got), want)
	}
	if got[0].HandedOver {
		t.Error("handed over by nobody")
	}
	if lostReason(got[1].Err) != holdfast.LostRemoved || got[1].Held <= 0 {
		t.Errorf("lost: %+v", got[1])
	}

	kept := Lock(t, e.New(c, "kept"))
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got = w.of(t, "kept", 2) // Close waits for what it has to tell
	if want := []holdfast.EventType{holdfast.EventAcquired, holdfast.EventReleased}; !slices.Equal(types(got), want) {
		t.Errorf("told %q, not %q", types(got), want)
	}
	runtime.KeepAlive(kept)
}

// observerHasValues: a trace in the caller's context reaches the observer, on all
// events of the lease, and the context does not end with the caller's.
func observerHasValues(t *testing.T, e *Env) {
	w := &witness{}
	c := e.Client(t, holdfast.WithObserver(w), holdfast.WithObserver(holdfast.ObserverFunc(func(ctx context.Context, _ holdfast.Event) {
		if ctx.Err() != nil || ctx.Done() != nil {
			t.Error("the observer's context ends")
		}
	})))
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), witnessKey{}, "trace"))
	lease, err := e.New(c, "values").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	Release(t, lease)
	w.of(t, "values", 2)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.values, []any{"trace", "trace"}) {
		t.Errorf("values %v", w.values)
	}
}

// observerHarmsNobody: one that blocks or panics holds up neither locks nor
// other observers, and what it missed is counted.
func observerHarmsNobody(t *testing.T, e *Env) {
	w, log := &witness{}, &recorder{}
	block := make(chan struct{})
	dropped := 0
	c := e.Client(t,
		holdfast.WithLogger(slog.New(log)),
		holdfast.WithObserver(holdfast.ObserverFunc(func(_ context.Context, x holdfast.Event) {
			<-block
			dropped += x.Dropped
		})),
		holdfast.WithObserver(holdfast.ObserverFunc(func(context.Context, holdfast.Event) { panic("at the observer") })),
		holdfast.WithObserver(w),
	)
	l := e.New(c, "harm", holdfast.WithTTL(3*time.Second))
	const cycles = 2200 // of two events, with room for 4096 and one that is being delivered
	for range cycles {
		Release(t, Lock(t, l))
	}
	w.of(t, "harm", 2*cycles)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close while an Observer blocks: %v", err)
	}
	close(block)
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if dropped != 0 { // nothing came after what was dropped to say so
		t.Errorf("%d dropped", dropped)
	}
	r, ok := log.find("holdfast: an Observer panicked")
	if !ok || r["panic"] != "at the observer" {
		t.Errorf("the panic is not logged: %v", log.all())
	}
}

// recorder is a log handler that keeps its records, by key.
type recorder struct {
	mu      sync.Mutex
	records []map[string]any
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	m := map[string]any{"": record.Message, "level": record.Level}
	record.Attrs(func(a slog.Attr) bool {
		m[a.Key] = a.Value.Resolve().Any()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, m)
	return nil
}

func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *recorder) WithGroup(string) slog.Handler      { return r }

func (r *recorder) all() []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

func (r *recorder) find(message string) (map[string]any, bool) {
	all := r.all()
	i := slices.IndexFunc(all, func(m map[string]any) bool { return m[""] == message })
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

// logKeys: texts and keys that dashboards and alerts are built on.
func logKeys(t *testing.T, e *Env) {
	log := &recorder{}
	c := e.Client(t, holdfast.WithLogger(slog.New(log)))
	l := e.New(c, "keys")
	lease := Lock(t, l)
	if err := lease.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.New(e.Client(t, holdfast.WithLogger(slog.New(log))), "keys").TryLock(t.Context()); err == nil {
		t.Fatal("not taken")
	}
	Release(t, lease)
	lost := Lock(t, l)
	if err := e.remove(t, lost); err != nil {
		t.Fatal(err)
	}
	_ = lost.Renew(t.Context()) // finds out
	for _, c := range []struct {
		message string
		level   slog.Level
		keys    []string
	}{
		{"holdfast: acquired", slog.LevelDebug, []string{"kind", "name", "weight", "id", "token", "wait", "handed_over"}},
		{"holdfast: not acquired", slog.LevelDebug, []string{"kind", "name", "weight", "wait", "error"}},
		{"holdfast: renewed", slog.LevelDebug, []string{"kind", "name", "weight", "id", "token", "held"}},
		{"holdfast: released", slog.LevelDebug, []string{"kind", "name", "weight", "id", "token", "held"}},
		{"holdfast: lease lost", slog.LevelWarn, []string{"kind", "name", "weight", "id", "token", "held", "reason", "error"}},
	} {
		var r map[string]any
		Eventually(t, c.message, func() (ok bool) { r, ok = log.find(c.message); return ok })
		if r["level"] != c.level || r["kind"] != e.Name || r["name"] != "keys" {
			t.Errorf("%v", r)
		}
		if reason, ok := r["reason"]; ok && reason != string(holdfast.LostRemoved) {
			t.Errorf("reason %v", reason)
		}
		delete(r, "")
		delete(r, "level")
		for _, key := range c.keys {
			if _, ok := r[key]; !ok {
				t.Errorf("%s has no %s: %v", c.message, key, r)
			}
			delete(r, key)
		}
		if len(r) > 0 {
			t.Errorf("%s has also %v", c.message, r)
		}
	}
}
