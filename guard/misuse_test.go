package guard_test

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/guard"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

var noTokens = []int64{0, -1, -now, math.MinInt64, 1 << 53, math.MaxInt64}

// What makes no sense is named, and nothing is sent.
func TestFenceMisuse(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	rdb := s.Client(t)
	count := s.CountClientCommands(t)
	f := guard.New(rdb, fenceKey)
	check := func(f *guard.Fence, ctx context.Context, token int64, names string, cmds ...guard.Cmd) {
		t.Helper()
		_, err := f.Do(ctx, token, cmds...)
		if !errors.Is(err, holdfast.ErrInvalid) || !strings.Contains(err.Error(), names) {
			t.Errorf("Do: %v, want an ErrInvalid that names %q", err, names)
		}
	}
	for _, token := range noTokens {
		check(f, t.Context(), token, strconv.FormatInt(token, 10), set(1))
		if err := f.Check(t.Context(), token); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("Check(%d): %v", token, err)
		}
	}
	var noClient *redis.Client
	var noCluster *redis.ClusterClient
	var noRing *redis.Ring
	check(nil, t.Context(), now, "nil or zero", set(1))
	check(&guard.Fence{}, t.Context(), now, "nil or zero", set(1))
	check(guard.New(nil, "k"), t.Context(), now, `"k"`, set(1))
	check(guard.New(noClient, "k"), t.Context(), now, "client is nil", set(1))
	check(guard.New(noCluster, "k"), t.Context(), now, "client is nil", set(1))
	check(guard.New(noRing, "k"), t.Context(), now, "client is nil", set(1))
	check(guard.New(rdb, ""), t.Context(), now, "key is empty", set(1))
	check(guard.NewField(rdb, "", "f"), t.Context(), now, "key is empty", set(1))
	check(guard.NewField(rdb, "h", ""), t.Context(), now, "field is empty", set(1))
	check(f, nil, now, "context is nil", set(1))
	check(f, t.Context(), now, "no commands")
	check(f, t.Context(), now, "command 2", set(1), guard.Cmd{})
	check(f, t.Context(), now, "not a string", guard.Cmd{register, "SET"})
	check(f, t.Context(), now, "not a string", guard.Cmd{""})

	ended, cancel := context.WithCancelCause(t.Context())
	because := errors.New("the lease is over")
	cancel(because)
	if _, err := f.Do(ended, now, set(1)); !errors.Is(err, context.Canceled) || !errors.Is(err, because) {
		t.Errorf("%v does not say why the context ended", err)
	}
	if n := count.Total(); n != 0 {
		t.Errorf("%d commands were sent: %v", n, count.ByName())
	}
}
