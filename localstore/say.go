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
