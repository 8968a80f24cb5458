"""What is where on a slide: outlines, masks and arrays behind one interface, and the colours of classes."""
