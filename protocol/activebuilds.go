package protocol

// A QueryActiveBuildsRequest asks which builds run now.
type QueryActiveBuildsRequest struct{}

// A QueryActiveBuildsReply has the builds as JSON: see [pix/store.ParseActiveBuildsJSON].
type QueryActiveBuildsReply struct{ JSON string }

// maxActiveBuilds is the largest length in bytes of the JSON.
const maxActiveBuilds = 16 << 20

func (*QueryActiveBuildsRequest) Op() Op      { return QueryActiveBuilds }
func (*QueryActiveBuildsRequest) code(*codec) {}
func (r *QueryActiveBuildsReply) code(c *codec) {
	c.limitedName("builds", &r.JSON, maxActiveBuilds)
}
