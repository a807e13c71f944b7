package localstore

import (
	"context"
	"fmt"

	"pix/activity"
)

// say tells whoever follows the call a line that Nix would print.
func say(ctx context.Context, format string, args ...any) {
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.Log{Text: fmt.Sprintf(format, args...)})
	}
}

// reporter returns a function that reports a line to the handler in the context of the call.
func reporter(ctx context.Context) func(line string) {
	return func(line string) { say(ctx, "%s", line) }
}
