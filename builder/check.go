package builder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pix/activity"
	"pix/store"
)

// compare compares an output of a check with the valid one. If they are equal, this machine can build the path, so
// compare marks the path as built here. If the path is not valid, the output is a fixed one with an unexpected hash,
// and there is nothing to compare it with.
func (f *finisher) compare(ctx context.Context, m *made) error {
	known, err := f.store.QueryPathInfo(ctx, m.info.Path)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if known.NARHash != m.info.NARHash {
		return f.differs(ctx, m)
	}
	if known.Ultimate {
		return nil
	}
	return f.trust(ctx, m)
}

// differs returns the failure of a check. It keeps the output beside the valid one if the options ask for that, or
// have a diff hook.
func (f *finisher) differs(ctx context.Context, m *made) error {
	object := f.outside(f.store.ObjectFile(m.info.Path))
	text := fmt.Sprintf("derivation '%s' may not be deterministic: output \"%s\" differs", f.req.Path, object)
	if f.opts.KeepFailed || f.opts.DiffHook != "" {
		kept, err := f.store.KeepCheck(ctx, m.file, m.info.Path)
		if err != nil {
			return err
		}
		if f.opts.DiffHook != "" {
			f.runDiffHook(ctx, string(m.info.Path), kept)
		}
		text += fmt.Sprintf(" from \"%s\"", kept)
	}
	return &Failure{Status: store.NotDeterministic, Message: text}
}

// diffHookLimit is how long a diff hook may take. The outputs are locked while it runs.
const diffHookLimit = 10 * time.Minute

// runDiffHook runs the program that shows how two outputs differ, as the user of the build. It reports the output of
// the program. A failure of the program is only reported.
func (f *finisher) runDiffHook(ctx context.Context, old, found string) {
	ctx, cancel := context.WithTimeout(ctx, diffHookLimit)
	defer cancel()
	h := &hook{program: f.opts.DiffHook, args: []string{old, found, string(f.req.Path), f.buildDir}, dir: "/"}
	if f.owner.count > 0 {
		h.user = &f.owner
	}
	text, err := f.runHook(ctx, h)
	if err != nil {
		reason := err.Error()
		if strings.HasPrefix(reason, "program ") { // it has run, and this is how it has ended
			reason = "diff-hook " + reason
		}
		f.say(activity.LevelError, "diff hook execution failed: "+reason)
		return
	}
	if text = strings.TrimRight(text, " \n\r\t"); text != "" {
		f.say(activity.LevelError, text)
	}
}
