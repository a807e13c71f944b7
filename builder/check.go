package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"pix/activity"
	"pix/store"
)

// compare compares an output of a check with the valid one. Equal ones show that this machine can make the path, so it is
// marked as made here. A path that is not valid has nothing to be compared with: it is a fixed output with
// another hash.
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

// differs returns the failure of a check. The output is kept beside the valid one if someone will look at it.
func (f *finisher) differs(ctx context.Context, m *made) error {
	object := f.store.ObjectFile(m.info.Path)
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

// diffHookLimit is how long a diff hook may take, since it keeps the locks of the outputs.
const diffHookLimit = 10 * time.Minute

// maxHookOutput is how many bytes of the output of a hook are reported.
const maxHookOutput = 1 << 20

// runDiffHook runs the program that shows how two outputs differ, as the user of the build. Its output is reported; its
// failure is, too, and changes nothing.
func (f *finisher) runDiffHook(ctx context.Context, old, found string) {
	ctx, cancel := context.WithTimeout(ctx, diffHookLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.opts.DiffHook, old, found, string(f.req.Path), f.buildDir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/local/bin:/usr/bin:/bin"}
	cmd.WaitDelay = time.Second
	runAs(cmd, f.owner)
	output := &limitedBuffer{left: maxHookOutput}
	cmd.Stdout, cmd.Stderr = output, output
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("diff-hook program \"%s\" %s", f.opts.DiffHook, exitText(exit.ProcessState))
	}
	if err != nil {
		f.tell(ctx, "diff hook execution failed: "+err.Error())
		return
	}
	if text := strings.TrimRight(output.String(), " \n\r\t"); text != "" {
		f.tell(ctx, text)
	}
}

// exitText says how a process ended, in the words of Nix.
func exitText(state *os.ProcessState) string {
	if code := state.ExitCode(); code >= 0 {
		return fmt.Sprintf("failed with exit code %d", code)
	}
	return "failed due to " + state.String()
}

// tell reports a line that is important to people.
func (f *finisher) tell(ctx context.Context, text string) {
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.Log{Text: text})
	}
}

// A limitedBuffer keeps the first bytes that are written to it.
type limitedBuffer struct {
	bytes.Buffer
	left int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.Buffer.Write(p[:n])
	return len(p), nil
}
