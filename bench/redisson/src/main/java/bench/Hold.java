package bench;

import java.util.concurrent.TimeUnit;
import org.redisson.api.RLock;
import org.redisson.api.RPermitExpirableSemaphore;
import org.redisson.api.RSemaphore;
import org.redisson.api.RedissonClient;

/** One of Redisson's locks, as a contender uses it. */
interface Hold {
    long LEASE_SECONDS = 30;

    void acquire() throws InterruptedException;

    void release();

    static Hold reader(Job job, RedissonClient client, String key) {
        return switch (job.text("Library")) {
            case "redisson-fair" -> of(client.getFairLock(key));
            case "redisson-semaphore" -> of(client.getSemaphore(key));
            case "redisson-permits" -> of(client.getPermitExpirableSemaphore(key));
            default -> of(job.text("Work").equals("rwlock")
                    ? client.getReadWriteLock(key).readLock()
                    : client.getLock(key));
        };
    }

    static Hold writer(Job job, RedissonClient client, String key) {
        return job.text("Work").equals("rwlock") ? of(client.getReadWriteLock(key).writeLock()) : null;
    }

    /** Sets the permits of a semaphore, which has none to begin with. */
    static void prepare(Job job, RedissonClient client, String key) {
        int limit = (int) job.number("Limit");
        switch (job.text("Library")) {
            case "redisson-semaphore" -> client.getSemaphore(key).trySetPermits(limit);
            case "redisson-permits" -> client.getPermitExpirableSemaphore(key).trySetPermits(limit);
            default -> { }
        }
    }

    private static Hold of(RLock lock) {
        return new Hold() {
            @Override
            public void acquire() throws InterruptedException {
                lock.lockInterruptibly();
            }

            @Override
            public void release() {
                lock.unlock();
            }
        };
    }

    private static Hold of(RSemaphore semaphore) {
        return new Hold() {
            @Override
            public void acquire() throws InterruptedException {
                semaphore.acquire();
            }

            @Override
            public void release() {
                semaphore.release();
            }
        };
    }

    private static Hold of(RPermitExpirableSemaphore semaphore) {
        return new Hold() {
            private String permit;

            @Override
            public void acquire() throws InterruptedException {
                permit = semaphore.acquire(LEASE_SECONDS, TimeUnit.SECONDS);
            }

            @Override
            public void release() {
                semaphore.release(permit);
            }
        };
    }
}
