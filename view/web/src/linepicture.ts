// The lines of the graph, drawn into a picture.
import { attribute, program, setView, Uniforms } from "./glsetup.ts";
import type { Camera, Colour, Colours, Viewport } from "./webgl.ts";

const lineVertex = `#version 300 es
in vec3 end;
uniform vec2 centre, viewport;
uniform float scale;
out float weight;
void main() {
  vec2 at = (end.xy - centre) * scale * 2.0 / viewport;
  gl_Position = vec4(at.x, -at.y, 0.0, 1.0);
  weight = end.z;
}`;

const lineFragment = `#version 300 es
precision mediump float;
uniform vec4 colour;
in float weight;
out vec4 result;
void main() {
  float alpha = colour.a * weight;
  result = vec4(colour.rgb * alpha, alpha);
}`;

// The corners of the picture are where the camera saw them when it was drawn.
const pictureVertex = `#version 300 es
in vec2 corner;
uniform vec2 centre, viewport, middle, extent;
uniform float scale;
out vec2 at;
void main() {
  vec2 place = (middle + corner * extent - centre) * scale * 2.0 / viewport;
  gl_Position = vec4(place.x, -place.y, 0.0, 1.0);
  at = vec2(corner.x, -corner.y) * 0.5 + 0.5;
}`;

const pictureFragment = `#version 300 es
precision mediump float;
uniform sampler2D picture;
in vec2 at;
out vec4 result;
void main() { result = texture(picture, at); }`;

// manyVertices is the number of vertices above which lines are not smooth, because one covers the other in any case.
const manyVertices = 200_000;

// Lines is a buffer with lines.
interface Lines {
  array: WebGLVertexArrayObject;
  buffer: WebGLBuffer;
}

export class LinePicture {
  private readonly program: WebGLProgram;
  private readonly uniforms: Uniforms;
  private readonly pictureProgram: WebGLProgram;
  private readonly pictureUniforms: Uniforms;
  private readonly corners: WebGLVertexArrayObject;
  private readonly all: Lines;
  private readonly some: Lines;
  private readonly count: number; // vertices
  private needs = 0;
  private neededBy = 0;
  private readonly smooth: WebGLFramebuffer; // draws with several samples per pixel
  private readonly samples: WebGLRenderbuffer;
  private readonly target: WebGLFramebuffer; // has the picture
  private readonly texture: WebGLTexture;
  private size = "";
  private drawn: { x: number; y: number; width: number; height: number } | null = null; // in the plane

  constructor(
    private readonly gl: WebGL2RenderingContext,
    lines: Float32Array,
  ) {
    this.program = program(gl, lineVertex, lineFragment);
    this.uniforms = new Uniforms(gl, this.program);
    this.pictureProgram = program(gl, pictureVertex, pictureFragment);
    this.pictureUniforms = new Uniforms(gl, this.pictureProgram);
    this.corners = gl.createVertexArray();
    gl.bindVertexArray(this.corners);
    attribute(gl, this.pictureProgram, "corner", 2, gl.FLOAT, Float32Array.of(-1, -1, 1, -1, -1, 1, 1, 1), gl.STATIC_DRAW);
    this.count = lines.length / 3;
    this.all = this.lines(lines, gl.STATIC_DRAW);
    this.some = this.lines(new Float32Array(0), gl.DYNAMIC_DRAW);
    gl.bindVertexArray(null);
    this.smooth = gl.createFramebuffer();
    this.samples = gl.createRenderbuffer();
    this.target = gl.createFramebuffer();
    this.texture = gl.createTexture();
  }

  private lines(data: Float32Array, usage: number): Lines {
    const array = this.gl.createVertexArray();
    this.gl.bindVertexArray(array);
    return { array, buffer: attribute(this.gl, this.program, "end", 3, this.gl.FLOAT, data, usage) };
  }

  // highlight sets the lines that stand out.
  highlight(needs: Float32Array, neededBy: Float32Array): void {
    const { gl } = this;
    const both = new Float32Array(needs.length + neededBy.length);
    both.set(needs);
    both.set(neededBy, needs.length);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.some.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, both, gl.DYNAMIC_DRAW);
    [this.needs, this.neededBy] = [needs.length / 3, neededBy.length / 3];
  }

  // render draws the picture as the camera sees it.
  render(camera: Camera, viewport: Viewport, colours: Colours): void {
    const { gl } = this;
    const [width, height] = [Math.round(viewport.width * viewport.ratio), Math.round(viewport.height * viewport.ratio)];
    if (width === 0 || height === 0) return;
    this.resize(width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.smooth);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.program);
    setView(gl, this.uniforms, camera, viewport);
    const some = this.needs + this.neededBy > 0;
    const alpha = Math.max(0.05, Math.min(0.6, 24_000 / Math.max(1, this.count))); // many lines must not cover the points
    this.drawLines(this.all, 0, this.count, colours.line, some ? alpha / 3 : alpha);
    this.drawLines(this.some, 0, this.needs, colours.needs, 0.6);
    this.drawLines(this.some, this.needs, this.neededBy, colours.neededBy, 0.6);
    gl.bindVertexArray(null);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, this.smooth);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, this.target);
    gl.blitFramebuffer(0, 0, width, height, 0, 0, width, height, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.drawn = { x: camera.x, y: camera.y, width: viewport.width / camera.scale, height: viewport.height / camera.scale };
  }

  private drawLines(lines: Lines, first: number, count: number, [r, g, b]: Colour, alpha: number): void {
    if (count === 0) return;
    this.gl.uniform4f(this.uniforms.at("colour"), r, g, b, alpha);
    this.gl.bindVertexArray(lines.array);
    this.gl.drawArrays(this.gl.LINES, first, count);
  }

  // resize makes a picture of another size.
  private resize(width: number, height: number): void {
    const { gl } = this;
    if (this.size === `${width} ${height}`) return;
    this.size = `${width} ${height}`;
    gl.bindRenderbuffer(gl.RENDERBUFFER, this.samples);
    const samples = this.count > manyVertices ? 0 : Math.min(4, gl.getParameter(gl.MAX_SAMPLES) as number);
    gl.renderbufferStorageMultisample(gl.RENDERBUFFER, samples, gl.RGBA8, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.smooth);
    gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.RENDERBUFFER, this.samples);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR],
      [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ] as const) {
      gl.texParameteri(gl.TEXTURE_2D, name, value);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.texture, 0);
  }

  // show draws the picture into the canvas, where it belongs for another camera.
  show(camera: Camera, viewport: Viewport): void {
    const { gl, drawn } = this;
    if (!drawn) return;
    gl.useProgram(this.pictureProgram);
    setView(gl, this.pictureUniforms, camera, viewport);
    gl.uniform2f(this.pictureUniforms.at("middle"), drawn.x, drawn.y);
    gl.uniform2f(this.pictureUniforms.at("extent"), drawn.width / 2, drawn.height / 2);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.bindVertexArray(this.corners);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.bindVertexArray(null);
  }
}
