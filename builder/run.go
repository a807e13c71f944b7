package builder

import (
	"context"
	"fmt"
	"io"

	"pix/activity"
	"pix/builder/sandbox"
	"pix/store"
)

// run builds the derivation unless its outputs are valid.
func (b *build) run(ctx context.Context) (status store.BuildStatus, outputs map[string]store.Realisation, err error) {
	if err := b.reject(); err != nil {
		return 0, nil, err
	}
	if err := b.decideSandbox(); err != nil {
		return 0, nil, err
	}
	locks, err := b.lock(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer locks.Release()
	b.locks = locks
	allValid, err := b.checkValid(ctx)
	if err != nil {
		return 0, nil, err
	}
	if allValid && b.req.Mode != store.BuildCheck {
		return store.AlreadyValid, b.validOutputs(), nil
	}
	if err := b.checkCheckable(); err != nil {
		return 0, nil, err
	}
	if err := b.removeInvalid(ctx); err != nil {
		return 0, nil, err
	}
	outputs, err = b.buildLocked(ctx)
	if err == nil && b.req.Mode == store.BuildCheck {
		outputs = b.validOutputs()
	}
	return store.Built, outputs, err
}

// buildLocked builds the derivation. The caller has locked the outputs.
func (b *build) buildLocked(ctx context.Context) (outputs map[string]store.Realisation, err error) {
	if err := b.findClosure(ctx); err != nil {
		return nil, err
	}
	c, err := b.contentFor(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.rejectNUL(c); err != nil {
		return nil, err
	}
	defer func() {
		if cleaning := b.cleanUp(ctx, err == nil); cleaning != nil {
			// Only warn: a registered output stays valid, and a failure has its own message.
			b.warn(fmt.Sprintf("cleaning up after the build of '%s': %v", b.req.Path, cleaning))
		}
	}()
	req, err := b.prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	return b.execute(ctx, req)
}

// execute runs the builder, and registers its outputs.
func (b *build) execute(ctx context.Context, req *sandbox.Request) (map[string]store.Realisation, error) {
	file, err := b.openLog(ctx)
	if err != nil {
		return nil, b.logFailure(err)
	}
	if file != nil {
		defer file.Close()
	}
	req.Locks = b.heldLocks()
	start := b.startActivity()
	defer func() { b.handler.HandleEvent(activity.Stop{ID: start}) }()
	result, err := b.runServed(ctx, req, file, start)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, b.exitFailure(result)
	}
	if b.submits() {
		return b.finishSubmitted(ctx)
	}
	return b.finishOutputs(ctx)
}

func (b *build) openLog(ctx context.Context) (io.WriteCloser, error) {
	if b.opts.DiscardLog {
		return nil, nil
	}
	return b.store.CreateLog(ctx, b.req.Path)
}

// startActivity reports that the build begins.
func (b *build) startActivity() activity.ID {
	verb := map[store.BuildMode]string{store.BuildNormal: "building", store.BuildRepair: "repairing outputs of", store.BuildCheck: "checking outputs of"}[b.req.Mode]
	id := activity.NewID()
	b.handler.HandleEvent(activity.Start{
		ID: id, Level: activity.LevelInfo, Type: activity.Build, Text: fmt.Sprintf("%s '%s'", verb, b.req.Path),
		Fields: []activity.Field{activity.Text(string(b.req.Path)), activity.Text(""), activity.Number(1), activity.Number(1)},
	})
	return id
}
