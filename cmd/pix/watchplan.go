package main

import (
	"context"
	"strings"
	"sync"

	"pix/activity"
	"pix/storepath"
)

// A watchedPlan makes the plan of the live view from the messages of a command. Nix names the derivations that it will
// build, a message each, before it builds them. Their inputs come from the store, if it can be read.
type watchedPlan struct {
	app    *app
	ctx    context.Context // without the handler
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	mu     sync.Mutex // held while a store is open: a command may print several plans

	listing bool // the next messages are derivations
	drvs    []storepath.Path
}

// watchPlan returns a plan, which must be stopped.
func (a *app) watchPlan(ctx context.Context) *watchedPlan {
	p := &watchedPlan{app: a}
	p.ctx, p.cancel = context.WithCancel(activity.WithHandler(ctx, nil))
	return p
}

// stop ends the reading of derivations.
func (p *watchedPlan) stop() {
	p.cancel()
	p.tasks.Wait()
}

// take takes the messages of a plan if there is a live view, which shows the plan instead.
func (p *watchedPlan) take(e activity.Event) bool {
	view := p.app.progress.view.Load()
	if view == nil {
		return false
	}
	log, isLog := e.(activity.Log)
	if isLog && strings.HasSuffix(log.Text, " will be built:") {
		p.listing = true
		return true
	}
	if p.listing && isLog && len(p.drvs) < maxWatched {
		if drv, err := p.derivation(log.Text); err == nil {
			p.drvs = append(p.drvs, drv)
			return true
		}
	}
	if p.listing {
		p.listing = false
		drvs := p.drvs
		p.drvs = nil
		p.tasks.Go(func() { p.show(drvs) })
	}
	return false
}

func (p *watchedPlan) derivation(text string) (storepath.Path, error) {
	dir, err := p.app.dir()
	if err != nil {
		return "", err
	}
	return dir.Parse(strings.TrimSpace(text))
}

// show passes the plan to the view. Without the derivations it has no inputs.
func (p *watchedPlan) show(drvs []storepath.Path) {
	p.mu.Lock()
	defer p.mu.Unlock()
	plan := make(map[string][]string, len(drvs))
	for _, drv := range drvs {
		plan[string(drv)] = nil
	}
	if s, err := p.app.openWith(p.ctx, openOptions{access: toRead}); err == nil {
		if full, err := planOf(p.ctx, s, drvs); err == nil {
			plan = full
		}
		s.Close()
	}
	if view := p.app.progress.view.Load(); view != nil {
		view.Plan(plan)
	}
}
