package bench;

import java.util.StringJoiner;

/** What was found in one window: see internal/worker/job.go. */
final class Result {
    final Longs counts = new Longs();
    final Longs times = new Longs();
    final Longs writeTimes = new Longs();
    final Longs pending = new Longs();
    final Longs acquired = new Longs();
    final Longs released = new Longs();
    long writes;
    long failures;
    String failure = "";
    long cpu;
    long threads;
    long memory;
    long lost;

    void add(Result r) {
        times.addAll(r.times);
        writeTimes.addAll(r.writeTimes);
        acquired.addAll(r.acquired);
        released.addAll(r.released);
        writes += r.writes;
        failures += r.failures;
        if (failure.isEmpty()) {
            failure = r.failure;
        }
    }

    String json() {
        return new StringJoiner(",", "{", "}")
                .add("\"Counts\":" + counts)
                .add("\"Writes\":" + writes)
                .add("\"Times\":" + times)
                .add("\"WriteTimes\":" + writeTimes)
                .add("\"Pending\":" + pending)
                .add("\"Acquired\":" + acquired)
                .add("\"Released\":" + released)
                .add("\"Failures\":" + failures)
                .add("\"Failure\":\"" + failure.replaceAll("[^\\w .:,()-]", "_") + "\"")
                .add("\"CPU\":" + cpu)
                .add("\"Goroutines\":" + threads)
                .add("\"Memory\":" + memory)
                .add("\"Lost\":" + lost)
                .toString();
    }

    /** A list without boxes. */
    static final class Longs {
        private long[] values = new long[64];
        private int size;

        void add(long value) {
            if (size == values.length) {
                values = java.util.Arrays.copyOf(values, 2 * size);
            }
            values[size++] = value;
        }

        void addAll(Longs other) {
            for (int i = 0; i < other.size; i++) {
                add(other.values[i]);
            }
        }

        @Override
        public String toString() {
            StringJoiner joined = new StringJoiner(",", "[", "]");
            for (int i = 0; i < size; i++) {
                joined.add(Long.toString(values[i]));
            }
            return joined.toString();
        }
    }
}
