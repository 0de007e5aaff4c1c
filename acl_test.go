package holdfast_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/reentrant"
	"github.com/holdfast-go/holdfast/rwlock"
	"github.com/holdfast-go/holdfast/semaphore"
)

// anyLock is what every kind can do.
type anyLock interface {
	holdfast.Locker
	Inspect(ctx context.Context) (*holdfast.State, error)
	ForceRelease(ctx context.Context, id string) error
}

type pair struct{ *semaphore.Semaphore }

func (p pair) Lock(ctx context.Context) (*holdfast.Lease, error)    { return p.Acquire(ctx, 2) }
func (p pair) TryLock(ctx context.Context) (*holdfast.Lease, error) { return p.TryAcquire(ctx, 2) }
func (p pair) Do(ctx context.Context, fn func(context.Context) error) error {
	return p.Semaphore.Do(ctx, 2, fn)
}

// TestDocumentedACL: a user with no more rights than docs/operations.md lists is
// refused nothing, whatever it does.
func TestDocumentedACL(t *testing.T) {
	server := testredis.Start(t)
	admin := server.Client(t)
	if err := admin.Do(t.Context(), documented(t)...).Err(); err != nil {
		t.Fatal(err)
	}
	client := func(t *testing.T, opts ...holdfast.Option) *holdfast.Client {
		t.Helper()
		rdb := server.Client(t, func(o *redis.Options) { o.Username, o.Password = "locker", "password" })
		c, err := holdfast.New(rdb, opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
		return c
	}
	for name, of := range map[string]func(c *holdfast.Client, opts ...holdfast.Option) anyLock{
		"mutex": func(c *holdfast.Client, opts ...holdfast.Option) anyLock { return mutex.New(c, "acl", opts...) },
		"reentrant": func(c *holdfast.Client, opts ...holdfast.Option) anyLock {
			return reentrant.New(c, "acl", opts...)
		},
		"rwlock": func(c *holdfast.Client, opts ...holdfast.Option) anyLock { return rwlock.New(c, "acl", opts...) },
		"semaphore": func(c *holdfast.Client, opts ...holdfast.Option) anyLock {
			return pair{semaphore.New(c, "acl", 2, opts...)}
		},
	} {
		t.Run(name, func(t *testing.T) { useAll(t, of, client(t), client(t)) })
	}
	t.Run("downgrade", func(t *testing.T) {
		l := rwlock.New(client(t), "down")
		lease := must(l.Lock(t.Context()))(t)
		lease = must(l.Downgrade(t.Context(), lease))(t)
		if err := lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("re-entry", func(t *testing.T) {
		l := reentrant.New(client(t), "again")
		if err := l.Do(t.Context(), func(ctx context.Context) error {
			return l.Do(ctx, func(context.Context) error { return nil })
		}); err != nil {
			t.Error(err)
		}
	})
	t.Run("replicas", func(t *testing.T) { // of which there are none
		short := (*holdfast.ReplicasError)(nil)
		_, err := mutex.New(client(t), "replicas", holdfast.WithReplicas(1, 20*time.Millisecond)).TryLock(t.Context())
		if !errors.As(err, &short) {
			t.Error(err)
		}
	})
	log, err := admin.ACLLog(t.Context(), 100).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, refused := range log {
		t.Errorf("refused: %s %s, in %s", refused.Reason, refused.Object, refused.Context)
	}
}

// documented is the ACL SETUSER of the document.
func documented(t *testing.T) (command []any) {
	t.Helper()
	text, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(regexp.MustCompile("ACL SETUSER locker [^`]*").FindString(string(text))) {
		command = append(command, word)
	}
	if len(command) == 0 {
		t.Fatal("no ACL SETUSER in docs/operations.md")
	}
	return command
}

func must(lease *holdfast.Lease, err error) func(t *testing.T) *holdfast.Lease {
	return func(t *testing.T) *holdfast.Lease {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
}

// useAll takes, waits, gives up, hands over, keeps, inspects and takes away.
func useAll(t *testing.T, of func(*holdfast.Client, ...holdfast.Option) anyLock, one, two *holdfast.Client) {
	t.Helper()
	ctx := t.Context()
	first := must(of(one).Lock(ctx))(t)
	if err := first.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := of(two).TryLock(ctx); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Fatal(err)
	}
	if _, err := of(two, holdfast.WithMaxWait(50*time.Millisecond)).Lock(ctx); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Fatal(err)
	}
	next := make(chan func(*testing.T) *holdfast.Lease, 1)
	go func() { next <- must(of(two, holdfast.WithMinHold(50*time.Millisecond)).Lock(ctx)) }()
	time.Sleep(400 * time.Millisecond) // it polls, and both listen
	if _, err := of(one).Inspect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := of(one).ForceRelease(ctx, first.ID()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.Done():
	case <-time.After(5 * time.Second):
		t.Error("not told that it was taken away")
	}
	if err := (<-next)(t).Release(ctx); err != nil {
		t.Fatal(err)
	}
	if err := must(of(one).Lock(ctx))(t).Release(ctx); err != nil { // once the minimum hold is over
		t.Fatal(err)
	}
}
