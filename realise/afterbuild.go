package realise

import (
	"pix/store"
	"pix/storepath"
)

// afterBuild calls AfterBuild of the settings after a build, also after one that only checked the outputs. The outputs
// stay valid if it fails. The goal has no slot any more, so a slow hook does not delay other builds.
func (c *call) afterBuild(drv storepath.Path, r *store.BuildResult) error {
	settings, err := c.load()
	if err != nil || settings.AfterBuild == nil || r.Status != store.Built {
		return err
	}
	outputs := make([]storepath.Path, 0, len(r.Outputs))
	for _, out := range r.Outputs {
		outputs = append(outputs, out.OutPath)
	}
	return settings.AfterBuild(c.ctx, drv, outputs)
}
