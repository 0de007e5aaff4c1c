package servertest_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// BenchmarkWakeUp measures what docs/design.md says of PUBLISH and sharded pub/sub:
// how long a message takes to its subscriber, how many messages the nodes send each
// other for it, and how many bytes a node writes. "Across": the subscriber is at
// another node than the publisher, as it is for most locks.
func BenchmarkWakeUp(b *testing.B) {
	if _, err := os.Stat("/proc/self/io"); err != nil {
		b.Skip("needs /proc")
	}
	for _, masters := range []int{3, 9} {
		cluster := testredis.StartCluster(b, masters, false)
		at, _ := cluster.Serving(b, "holdfast:inbox:x")
		other := cluster.Masters[(slices.Index(cluster.Masters, at)+1)%masters]
		for _, c := range []struct {
			name, command string
			from          *testredis.Server
		}{{"PUBLISH", "publish", at}, {"PUBLISH across", "publish", other}, {"SPUBLISH", "spublish", at}} {
			b.Run(fmt.Sprintf("%d masters/%s", masters, c.name), func(b *testing.B) { wakeUps(b, cluster, c.command, c.from, at) })
		}
	}
}

func wakeUps(b *testing.B, cluster *testredis.Cluster, command string, from, at *testredis.Server) {
	b.Helper()
	ctx := b.Context()
	const channel = "holdfast:inbox:x"
	rdb := at.Client(b)
	sub := rdb.Subscribe(ctx, channel)
	if command == "spublish" {
		_ = sub.Close()
		sub = rdb.SSubscribe(ctx, channel)
	}
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(ctx); err != nil {
		b.Fatal(err)
	}
	publisher := from.Client(b)
	bus, written := busMessages(b, cluster), from.Written(b)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begun := time.Now()
		if err := publisher.Do(ctx, command, channel, "3f0c2b8e-6a0e-4c65-9f6e-1f2d3c4b5a69:123 1795558879611000 0").Err(); err != nil {
			b.Fatal(err)
		}
		if _, err := sub.ReceiveMessage(ctx); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(busMessages(b, cluster)-bus)/float64(len(took)), "bus-messages/op")
	b.ReportMetric(float64(from.Written(b)-written)/float64(len(took)), "written-bytes/op")
}

// busMessages is how many pub/sub messages all nodes have sent each other.
func busMessages(b *testing.B, cluster *testredis.Cluster) int64 {
	b.Helper()
	var n int64
	for _, s := range cluster.Masters {
		n += busMessagesOf(b.Context(), b, s.Client(b))
	}
	return n
}

func busMessagesOf(ctx context.Context, b *testing.B, rdb *redis.Client) int64 {
	b.Helper()
	info, err := rdb.ClusterInfo(ctx).Result()
	if err != nil {
		b.Fatal(err)
	}
	var total int64
	for line := range strings.SplitSeq(info, "\r\n") {
		for _, name := range []string{"cluster_stats_messages_publish_sent:", "cluster_stats_messages_publishshard_sent:"} {
			if text, ok := strings.CutPrefix(line, name); ok {
				n, _ := strconv.ParseInt(text, 10, 64)
				total += n
			}
		}
	}
	return total
}
