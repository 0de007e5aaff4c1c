package bench;

import java.time.Instant;
import java.util.concurrent.locks.LockSupport;

/** The wall clock in nanoseconds, which all processes of a machine have in common. */
final class Clock {
    private Clock() { }

    static long now() {
        Instant i = Instant.now();
        return i.getEpochSecond() * 1_000_000_000L + i.getNano();
    }

    static void sleepUntil(long time) {
        for (long left = time - now(); left > 0; left = time - now()) {
            LockSupport.parkNanos(left);
        }
    }
}
