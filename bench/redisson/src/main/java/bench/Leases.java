package bench;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.redisson.api.RedissonClient;

/** Many locks that one client holds: see internal/worker/leases.go. */
final class Leases {
    private static final int TAKERS = 64;

    private final Job job;
    private final RedissonClient client;
    private final long memory;
    private final CountDownLatch over = new CountDownLatch(1);

    Leases(Job job, RedissonClient client) throws InterruptedException {
        this.job = job;
        this.client = client;
        long before = used();
        AtomicLong next = new AtomicLong();
        CountDownLatch taken = new CountDownLatch(TAKERS);
        for (int i = 0; i < TAKERS; i++) {
            Thread taker = new Thread(() -> {
                for (long n = next.getAndIncrement(); n < job.number("Leases"); n = next.getAndIncrement()) {
                    client.getLock(job.key(n)).lock();
                }
                taken.countDown();
                awaitEnd();
            });
            taker.setDaemon(true);
            taker.start();
        }
        taken.await();
        memory = used() - before;
    }

    /** A holder is a thread, so it must last as long as what it holds. */
    private void awaitEnd() {
        try {
            over.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    void report(Result result) {
        result.memory = memory;
        List<String> keys = new ArrayList<>();
        for (long n = 0; n < job.number("Leases"); n++) {
            keys.add(job.key(n));
        }
        result.lost = job.number("Leases") - client.getKeys().countExists(keys.toArray(String[]::new));
    }

    void end() {
        over.countDown();
    }

    private static long used() {
        System.gc();
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }
}
