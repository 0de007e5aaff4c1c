package bench;

import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What is to be done: see internal/worker/job.go. One line of flat JSON. */
record Job(Map<String, String> fields) {
    private static final Pattern FIELD = Pattern.compile("\"(\\w+)\":(\"[^\"]*\"|[-\\w.]+)");

    static Job parse(String line) {
        Map<String, String> fields = new HashMap<>();
        for (Matcher m = FIELD.matcher(line); m.find(); ) {
            fields.put(m.group(1), m.group(2).replace("\"", ""));
        }
        return new Job(fields);
    }

    String text(String name) {
        return fields.get(name);
    }

    long number(String name) {
        return Long.parseLong(fields.get(name));
    }

    boolean is(String name) {
        return Boolean.parseBoolean(fields.get(name));
    }

    String key(long number) {
        return "bench:" + number;
    }
}
