import "./input.js";
import "./picture.js";
