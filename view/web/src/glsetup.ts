// Programs and buffers of WebGL.
import type { Camera, Viewport } from "./webgl.ts";

export function program(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
  const made = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`This browser cannot draw the graph: ${gl.getProgramInfoLog(made) ?? "a shader fails"}`);
  }
  return made;
}

// attribute uploads the data of an attribute of a program.
export function attribute(gl: WebGL2RenderingContext, of: WebGLProgram, name: string, parts: number, type: number, data: Float32Array | Uint8Array, usage: number): WebGLBuffer {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, usage);
  const location = gl.getAttribLocation(of, name);
  gl.enableVertexAttribArray(location);
  gl.vertexAttribPointer(location, parts, type, false, 0, 0);
  return buffer;
}

// Uniforms are the places of the uniform variables of a program. Looking them up is slow.
export class Uniforms {
  private readonly places = new Map<string, WebGLUniformLocation | null>();

  constructor(
    private readonly gl: WebGL2RenderingContext,
    private readonly of: WebGLProgram,
  ) {}

  at(name: string): WebGLUniformLocation | null {
    let place = this.places.get(name);
    if (place === undefined) {
      place = this.gl.getUniformLocation(this.of, name);
      this.places.set(name, place);
    }
    return place;
  }
}

// setView sets the variables by which a vertex shader places points of the plane.
export function setView(gl: WebGL2RenderingContext, uniforms: Uniforms, camera: Camera, viewport: Viewport): void {
  gl.uniform2f(uniforms.at("centre"), camera.x, camera.y);
  gl.uniform2f(uniforms.at("viewport"), viewport.width, viewport.height);
  gl.uniform1f(uniforms.at("scale"), camera.scale);
}
