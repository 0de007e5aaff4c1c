package servertest_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/reentrant"
	"github.com/holdfast-go/holdfast/rwlock"
)

// documented are the rules of the user that docs/operations.md tells to make.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "ACL SETUSER locker on >password ")
	rules, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/operations.md has no ACL")
	}
	return strings.Fields(rules)
}

// A user with the documented rights can do all there is to do, and needs each of
// them: a command that nobody uses is a right too many.
func TestDocumentedRights(t *testing.T) {
	t.Parallel()
	rules := documented(t)
	s := testredis.Start(t)
	makeUser(t, s, rules)
	login := func(o *redis.Options) { o.Username, o.Password = "locker", "password" }
	s.ResetStats(t)
	everything(t, func(opts ...holdfast.Option) *holdfast.Client { return newClient(t, s.Client(t, login), opts...) })
	nothingRefused(t, s)
	used := s.Commands(t)
	for _, rule := range rules {
		command, ok := strings.CutPrefix(rule, "+")
		if !ok || strings.HasPrefix(command, "@") {
			continue
		}
		switch command {
		case "cluster|slots", "spublish", // of a cluster
			"zincrby",     // of a release while a slot migrates
			"unsubscribe", // of Redisson's channels
			"hget":        // of Inspect where Redisson holds the lock
			continue
		}
		if used[strings.ToUpper(command)] == 0 {
			t.Errorf("%s is in the documented rights and was not used", command)
		}
	}
}

func TestDocumentedRightsOnCluster(t *testing.T) {
	t.Parallel()
	cluster := testredis.StartCluster(t, 3, false)
	for _, s := range cluster.Masters {
		makeUser(t, s, documented(t))
	}
	login := func(o *redis.ClusterOptions) { o.Username, o.Password = "locker", "password" }
	everything(t, func(opts ...holdfast.Option) *holdfast.Client {
		return newClient(t, cluster.Client(t, login), opts...)
	})
	// What a migration redirects.
	b := newSlotBed(t, cluster, "mutex", login)
	lease := contract.Lock(t, b.make(900*time.Millisecond))
	b.cluster.Open(t, b.slot, b.from, b.to)
	b.cluster.Move(t, b.slot, b.from, b.to)
	b.renewed(lease)
	b.cluster.Close(t, b.slot, b.from, b.to)
	contract.Release(t, lease)
	for _, s := range cluster.Masters {
		nothingRefused(t, s)
	}
}

func makeUser(t *testing.T, s *testredis.Server, rules []string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", "locker", "on", ">password"}
	for _, rule := range rules {
		args = append(args, rule)
	}
	rdb := s.Client(t)
	if err := rdb.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	if err := rdb.Do(t.Context(), "ACL", "LOG", "RESET").Err(); err != nil {
		t.Fatal(err)
	}
}

func nothingRefused(t *testing.T, s *testredis.Server) {
	t.Helper()
	if log, err := s.Client(t).Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(log) > 0 {
		t.Errorf("refused: %v, %v", log, err)
	}
}

// everything does with locks all that can be done.
func everything(t *testing.T, client func(opts ...holdfast.Option) *holdfast.Client) {
	t.Helper()
	ctx := t.Context()
	for kind, lock := range kinds {
		handOver(t, lock(client(), "lock"), lock(client(), "lock"))
		// A minimum hold, a wait that is given up, a lease that is renewed by hand and
		// one by itself.
		l := lock(client(holdfast.WithMinHold(50*time.Millisecond), holdfast.WithTTL(300*time.Millisecond)), "other")
		lease := contract.Lock(t, l)
		if err := lease.Renew(ctx); err != nil {
			t.Errorf("%s: Renew: %v", kind, err)
		}
		before := lease.Deadline()
		contract.Eventually(t, "a renewal", func() bool { return lease.Deadline().After(before) })
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		if _, err := lock(client(), "other").Lock(short); err == nil {
			t.Errorf("%s: two holders", kind)
		}
		cancel()
		contract.Release(t, lease)
		contract.Release(t, contract.Lock(t, l))
		takeAway(t, lock(client(), "away"),
			lock(client(), "away", holdfast.WithMinHold(50*time.Millisecond)),
			lock(client(), "away", holdfast.WithMaxWait(50*time.Millisecond)))
		var missing *holdfast.ReplicasError // all of them
		_, err := lock(client(), "replicas", holdfast.WithReplicas(1, 20*time.Millisecond)).TryLock(ctx)
		if !errors.As(err, &missing) {
			t.Errorf("%s: TryLock with replicas: %v", kind, err)
		}
	}
	re := reentrant.New(client(), "again")
	err := re.Do(ctx, func(ctx context.Context) error { return re.Do(ctx, func(context.Context) error { return nil }) })
	if err != nil {
		t.Error(err)
	}
	rw := rwlock.New(client(), "read")
	w := contract.Lock(t, rw)
	waiting := contract.Go(ctx, rwlock.New(client(), "read").RLocker())
	r, err := rw.Downgrade(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	second := contract.Get(t, waiting)
	if second.Err != nil {
		t.Fatal(second.Err)
	}
	contract.Release(t, r)
	contract.Release(t, second.Lease)
}

// takeAway wants a forced release to be told, and the next to be served.
func takeAway(t *testing.T, holder, next, impatient holdfast.Locker) {
	t.Helper()
	first := contract.Lock(t, holder)
	for _, ask := range []func(context.Context) (*holdfast.Lease, error){impatient.TryLock, impatient.Lock} {
		if _, err := ask(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
			t.Errorf("of a held lock: %v", err)
		}
	}
	waiting := contract.Go(t.Context(), next)
	queuedBehind(t, holder, 1)
	seen, ok := holder.(interface {
		Inspect(ctx context.Context) (*holdfast.State, error)
		ForceRelease(ctx context.Context, id string) error
	})
	if !ok {
		t.Fatalf("%T has no Inspect or ForceRelease", holder)
	}
	if _, err := seen.Inspect(t.Context()); err != nil {
		t.Error(err)
	}
	if err := seen.ForceRelease(t.Context(), first.ID()); err != nil {
		t.Error(err)
	}
	select {
	case <-first.Done():
	case <-time.After(5 * time.Second):
		t.Error("not told that it was taken away")
	}
	r := contract.Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	contract.Release(t, r.Lease)
	contract.Release(t, contract.Lock(t, holder)) // once the minimum hold is over
}

// handOver wants the waiter to be woken, not to poll.
func handOver(t *testing.T, holder, waiter holdfast.Locker) {
	t.Helper()
	lease := contract.Lock(t, holder)
	waiting := contract.Go(t.Context(), waiter)
	queuedBehind(t, holder, 1)
	contract.Release(t, lease)
	r := contract.Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	contract.Release(t, r.Lease)
}

// The scripts call no command of Redis that Valkey has not, nor one that is not in
// the documented rights: what they can call is in their text.
func TestScriptsCallWhatIsDocumented(t *testing.T) {
	t.Parallel()
	rules := documented(t)
	files, err := os.ReadDir("../../lua")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".lua") {
			continue
		}
		text, err := os.ReadFile("../../lua/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range strings.Split(string(text), "call('")[1:] {
			command, _, _ := strings.Cut(call, "'")
			if seen++; !slices.Contains(rules, "+"+strings.ToLower(command)) {
				t.Errorf("%s calls %s, which is not documented", file.Name(), command)
			}
		}
	}
	if seen < 50 {
		t.Errorf("%d calls found", seen)
	}
}
